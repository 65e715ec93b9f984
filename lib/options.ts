/** Checks options against zod schemas and turns zod's findings into whittle's one-sentence errors. A leaf. */
import type { z } from 'zod';
import { WhittleError, type WhittleErrorCode } from '../bindings/errors.js';

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
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problem = describeProblems(result.error, schema)[0]!;
  throw new WhittleError(code, `${what}: ${problem.message}`);
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
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
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
  keys?: string[];
  errors?: Issue[][];
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
  return [{ path, message: where + issue.message.charAt(0).toLowerCase() + issue.message.slice(1) }];
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
