/** What a predictor takes: checks of single inputs. */
import { WhittleError } from '../../bindings/errors.js';
import type { Example } from '../data/batch.js';
import type { Task } from '../data/dataset.js';
import { describeValue } from '../data/rows.js';
import { didYouMean } from '../options.js';

/** Fields of rows to train on that rows to predict on may have as well. */
const labelFields = ['label', 'labels', 'tags'];

/** @throws WhittleError `BAD_OPTION` for what is no iterable of inputs; a text, whose characters are one, among it. */
export function expectInputs(inputs: unknown): void {
  const isIterable =
    typeof inputs === 'object' && inputs !== null && (Symbol.asyncIterator in inputs || Symbol.iterator in inputs);
  if (isIterable) return;
  throw new WhittleError(
    'BAD_OPTION',
    `predictStream: expected an iterable of inputs, such as an array or an async generator, but found ${describeValue(inputs)}`,
  );
}

/** @throws WhittleError `BAD_OPTION` for what are no tokenized rows. */
export function expectExamples(examples: unknown): void {
  const refuse = (place: string, expected: string, found: unknown) => {
    throw new WhittleError('BAD_OPTION', `${place}: expected ${expected} but found ${describeValue(found)}`);
  };
  if (!Array.isArray(examples)) return refuse('predictOutputs', 'an array of examples', examples);
  examples.forEach((example: unknown, index) => {
    const { inputIds, tokenTypeIds } = (example ?? {}) as Partial<Example>;
    const place = `predictOutputs: example ${index}`;
    if (!(inputIds instanceof Int32Array)) return refuse(place, 'inputIds, an Int32Array,', inputIds);
    if (tokenTypeIds instanceof Int32Array && tokenTypeIds.length === inputIds.length) return;
    refuse(place, `tokenTypeIds, an Int32Array of ${inputIds.length}, as inputIds,`, tokenTypeIds);
  });
}

/** What is wrong with an input, as an error; undefined if nothing is. Text of white space alone counts as empty. */
export function findInputProblem(
  input: unknown,
  task: Task,
  place: string,
): { error: WhittleError; empty: boolean } | undefined {
  const problem = (expected: string, found: unknown, empty = false) => ({
    error: new WhittleError('BAD_DATA', `${place}: expected ${expected} but found ${describeValue(found)}`),
    empty,
  });
  if (typeof input === 'string') return input.trim() === '' ? problem('a text', input, true) : undefined;
  const fields = (typeof input === 'object' && input !== null ? input : {}) as Record<string, unknown>;
  const form = inputForms[task];
  const unknown = Object.keys(fields).find((key) => !form.keys.includes(key) && !labelFields.includes(key));
  if (unknown !== undefined && !Array.isArray(input)) {
    const hint = didYouMean(unknown, form.keys) || `; expected ${form.name}`;
    return { error: new WhittleError('BAD_DATA', `${place}: unknown key "${unknown}"${hint}`), empty: false };
  }
  if (task === 'token-classification') {
    const { tokens } = fields;
    if (!Array.isArray(tokens)) return problem(form.name, input);
    if (tokens.length === 0) return problem('"tokens" to hold at least one word', tokens, true);
    const wrong = tokens.findIndex((token) => typeof token !== 'string');
    return wrong < 0 ? undefined : problem(`"tokens[${wrong}]" to be a string`, tokens[wrong]);
  }
  const { text, textPair } = fields;
  if (typeof text !== 'string') return problem(form.name, input);
  if (textPair !== undefined && typeof textPair !== 'string') return problem('"textPair" to be a string', textPair);
  if (text.trim() === '') return problem('"text" to hold text', text, true);
  return undefined;
}

const text = { name: 'a text or { text, textPair }', keys: ['text', 'textPair'] };
const inputForms: Record<Task, { name: string; keys: readonly string[] }> = {
  'text-classification': text,
  'multi-label-classification': text,
  regression: text,
  'token-classification': { name: 'a text or { tokens }', keys: ['tokens'] },
  embedding: { name: 'a text or { text }', keys: ['text'] },
};
