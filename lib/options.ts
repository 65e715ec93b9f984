/** Checks options against zod schemas and turns zod's findings into whittle's one-sentence errors. A leaf. */
import { z } from 'zod';
import { WhittleError, type WhittleErrorCode } from '../bindings/errors.js';

/** How many threads of native work, as every function takes it: 0 is the machine's default. */
export const threadsRule = z.int('expected a whole number of threads').min(0).max(1024);

export const signalRule = z.instanceof(AbortSignal, { error: 'expected an AbortSignal' });

export function functionRule<F>() {
  return z.custom<F>((value) => typeof value === 'function', 'expected a function');
}

/** One thing wrong with a value, as a sentence, with the path of the key it is about. */
export interface OptionProblem {
  path: (string | number)[];
  message: string;
}

/**
 * `value` as `schema` reads it, with defaults filled in.
 * @param what names the value in messages: `finetune options`.
 * @throws WhittleError naming the first problem: unknown key (with the nearest right one), wrong type, out of range.
 */
export function checkOptions<S extends z.ZodType>(
  schema: S,
  value: unknown,
  what: string,
  code: WhittleErrorCode = 'BAD_OPTION',
): z.output<S> {
  const result = parseOptions(schema, value);
  if (result.success) return result.data;
  const problem = describeProblems(result.error, schema)[0]!;
  throw new WhittleError(code, `${what}: ${problem.message}`);
}

/** As `schema.safeParse`, with whittle's wording in place of zod's own, and the values found in the issues. */
export function parseOptions<S extends z.ZodType>(schema: S, value: unknown): z.ZodSafeParseResult<z.output<S>> {
  return schema.safeParse(value, { reportInput: true, error: (issue) => expectation(issue as unknown as Issue) });
}

/**
 * Every problem of a failed parse: unknown keys first, since a misspelt key is also a missing one, then in zod's order.
 * @param nameOf how a message calls the place of a key; `steps[0].finetune` unless told.
 */
export function describeProblems(
  error: z.ZodError,
  schema: z.ZodType,
  nameOf: (path: readonly (string | number)[]) => string = formatPath,
): OptionProblem[] {
  const problems = error.issues.flatMap((issue) => describeIssue(issue as Issue, [], schema, nameOf));
  const isUnknownKey = ({ message }: OptionProblem) => message.startsWith('unknown key');
  return [...problems.filter(isUnknownKey), ...problems.filter((problem) => !isUnknownKey(problem))];
}

/** The candidate nearest to `word` by edit distance, if it is near enough to be a slip. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const [from, to] = [word.toLowerCase(), candidate.toLowerCase()];
    const distance = editDistance(from, to);
    // Of short words, two changes leave nothing unless the beginning is right.
    if (distance > 1 && from.length <= 3 && from[0] !== to[0]) continue;
    if (distance < Math.min(bestDistance, word.length)) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** `; did you mean "x"?` or nothing. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const match = nearest(word, candidates);
  return match === undefined ? '' : `; did you mean "${match}"?`;
}

interface Issue {
  code: string;
  path: (string | number)[];
  message: string;
  /** The value that is wrong; undefined if it is missing. */
  input?: unknown;
  keys?: string[];
  errors?: Issue[][];
  expected?: string;
  values?: unknown[];
  minimum?: number;
  maximum?: number;
  inclusive?: boolean;
  divisor?: number;
  /** The key that tells the alternatives of a union apart, and the values that it may have. */
  discriminator?: string;
  options?: string[];
}

function describeIssue(
  issue: Issue,
  base: (string | number)[],
  schema: z.ZodType,
  nameOf: (path: readonly (string | number)[]) => string,
): OptionProblem[] {
  const path = [...base, ...issue.path];
  const place = path.length ? ` in ${nameOf(path)}` : '';
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, path);
    return (issue.keys ?? []).map((key) => ({
      path: [...path, key],
      message: `unknown key "${key}"${place}${didYouMean(key, known) || (known.length ? `; expected one of ${known.join(', ')}` : '')}`,
    }));
  }
  if (issue.code === 'invalid_union' && issue.errors?.length) {
    // The alternative that got furthest is the one that was meant.
    const depth = (issues: Issue[]) =>
      Math.max(...issues.map((one) => one.path.length + (one.code === 'unrecognized_keys' ? 1 : 0)));
    const closest = issue.errors.reduce((best, next) => (depth(next) > depth(best) ? next : best));
    if (depth(closest) > 0) return closest.flatMap((one) => describeIssue(one, path, schema, nameOf));
  }
  const where = path.length ? `${nameOf(path)}: ` : '';
  return [{ path, message: where + sentence(issue) }];
}

const kindNames: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  tuple: 'a list',
  object: 'keys and values',
  record: 'keys and values',
  function: 'a function',
};

/** `expected at most 10`: what whittle says where a schema has no words of its own. */
function expectation(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${kindNames[issue.expected!] ?? issue.expected}`;
    case 'invalid_value':
      return `expected ${listed(issue.values!.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))))}`;
    case 'too_small':
    case 'too_big':
      return `expected ${limitOf(issue)}`;
    case 'not_multiple_of':
      return `expected a multiple of ${issue.divisor}`;
    case 'invalid_union':
      return issue.discriminator === undefined
        ? unionExpectation(issue.errors ?? [], issue.input)
        : `expected one of ${(issue.options ?? []).join(', ')}`;
    default:
      return 'expected another value';
  }
}

/** What the alternatives expect, without those that are of another type than the value, if others are left. */
function unionExpectation(alternatives: Issue[][], found: unknown): string {
  const mistakes = alternatives.map(([first]) => first).filter((first) => first !== undefined);
  const sameType = mistakes.filter(
    ({ code, values }) =>
      code !== 'invalid_type' && (code !== 'invalid_value' || values?.some((value) => typeof value === typeof found)),
  );
  const words = (sameType.length ? sameType : mistakes).map((one) => lowerFirst(one.message).replace(/^expected /, ''));
  return `expected ${listed([...new Set(words)]) || 'another value'}`;
}

/** `at least 1`, `above 0`. Lists are counted. */
function limitOf({ code, minimum, maximum, inclusive, input }: Issue): string {
  const isOne = (minimum ?? maximum) === 1;
  const unit = Array.isArray(input)
    ? ` ${isOne ? 'entry' : 'entries'}`
    : typeof input === 'string'
      ? ` ${isOne ? 'character' : 'characters'}`
      : '';
  if (code === 'too_small') return `${inclusive === false ? 'above' : 'at least'} ${minimum}${unit}`;
  return `${inclusive === false ? 'below' : 'at most'} ${maximum}${unit}`;
}

const namesLimit = /\b(least|most|above|below|more than|less than|fewer than|between|from \S+ to)\b/;

/** `expected a number of epochs, at most 10000, but found 20000` */
function sentence(issue: Issue): string {
  const message = lowerFirst(issue.message);
  const { code, discriminator } = issue;
  const input =
    discriminator === undefined ? issue.input : (issue.input as Record<string, unknown> | undefined)?.[discriminator];
  if (!message.startsWith('expected') || message.includes('but found')) return message;
  if (code === 'custom' && typeof input === 'object' && !Array.isArray(input)) return message;
  const isLimit = code === 'too_small' || code === 'too_big';
  const limit = isLimit && typeof input !== 'string' && !namesLimit.test(message) ? `, ${limitOf(issue)},` : '';
  const suggestion = typeof input === 'string' ? didYouMean(input, wordsOf(issue)) : '';
  const found =
    input === undefined ? 'it is missing' : `found ${isLimit && isEmptyList(input) ? 'none' : shown(input)}`;
  return `${message}${limit} but ${found}${suggestion}`;
}

/** The words that a value may be, also as one alternative of several. */
function wordsOf({ values = [], options = [], errors = [] }: Issue): string[] {
  const alternatives = errors.flatMap(([first]) => (first && first.path.length === 0 ? wordsOf(first) : []));
  return [...values, ...options, ...alternatives].filter((value) => typeof value === 'string');
}

/** A value as messages show it: JSON, cut to 60 characters. */
function shown(value: unknown): string {
  if (value === null) return 'nothing';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'function') return 'a function';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** `a, b or c` */
function listed(words: string[]): string {
  return words.length > 1 ? `${words.slice(0, -1).join(', ')} or ${words.at(-1)}` : (words[0] ?? '');
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** `steps[0].finetune.stages[2]` */
export function formatPath(path: readonly (string | number)[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${key}` : key),
    '',
  );
}

/** The keys that an object schema allows at a path, looking through optional, default, array and union wrappers. */
function keysAt(schema: z.ZodType, path: readonly (string | number)[]): string[] {
  let nodes: unknown[] = unwrap(schema);
  for (const key of path) {
    nodes = nodes.flatMap((node) => {
      const def = (node as { def?: { shape?: Record<string, unknown>; element?: unknown; valueType?: unknown } }).def;
      if (typeof key === 'number') return def?.element ? unwrap(def.element) : [];
      const child = def?.shape?.[key] ?? def?.valueType;
      return child ? unwrap(child) : [];
    });
  }
  return [...new Set(nodes.flatMap((node) => Object.keys((node as { def?: { shape?: object } }).def?.shape ?? {})))];
}

function unwrap(node: unknown): unknown[] {
  const def = (node as { def?: { innerType?: unknown; options?: unknown[]; in?: unknown } }).def;
  if (def?.innerType) return unwrap(def.innerType);
  if (def?.in) return unwrap(def.in);
  if (def?.options) return def.options.flatMap(unwrap);
  return [node];
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      current[j] = Math.min(previous[j]! + 1, current[j - 1]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    previous = current;
  }
  return previous[b.length]!;
}
