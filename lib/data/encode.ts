/** From rows to examples: token ids and labels as numbers. */
import { WhittleError } from '../../bindings/errors.js';
import { didYouMean } from '../options.js';
import type { Example } from './batch.js';
import { parseTag } from './bio.js';
import type { MultiLabelRow, Row, ScoredRow, Task, TextRow, TokenRow } from './dataset.js';
import { describeValue } from './rows.js';
import { encodingOf } from './tokenizer/encoded-batch.js';
import type { Encoding, Tokenizer, TokenizerInput } from './tokenizer/tokenizer.js';
import { cutWindows, defaultStride, type TokenWindow } from './windows.js';

/** Texts with too many tokens lose the rest, or become several windows. */
export type LongTexts = 'truncate' | 'windows';

/**
 * Which pieces of a word carry its tag in training: the first alone; all of them the same; or the others `I-` where the
 * first has `B-`. Predictions are read at first pieces always.
 */
export type LabelPieces = 'first' | 'all' | 'all-inside';

export interface RowEncodingOptions {
  tokenizer: Tokenizer;
  /** Class names; a label's index is its class id. Without them examples carry no labels. */
  labels?: readonly string[] | undefined;
  /** Most tokens of an example, special ones included: the model's `positions` or less. */
  maxLength: number;
  /** `truncate` by default. Pairs are always cut, the longer text first. */
  longTexts?: LongTexts | undefined;
  /** Tokens that neighboring windows share; a quarter of `maxLength` by default. */
  stride?: number | undefined;
  /** `first` by default. */
  labelPieces?: LabelPieces | undefined;
  /** Where each row came from, for errors: `train.jsonl:17`. Default `row 0` and so on. */
  place?: ((index: number) => string) | undefined;
}

export interface EncodedRows {
  /** One a row; several, with their `row`, for windows and for the texts of pairs to embed. */
  examples: Example[];
  /** How many rows had more than `maxLength` tokens and lost the rest. */
  truncated: number;
}

/** Tokens without a label: special ones, and word pieces that carry none. The loss ignores them. */
export const ignoredLabel = -100;

/**
 * Rows of a task as examples, in the order given.
 *
 * - Classes and numbers: an example a row, or one for each window of a long text, all with the row's label.
 * - Tokens: a word's tag goes to the pieces that `labelPieces` says; in windows, each word has labels in one of them.
 * - Embeddings: two examples a row, text and pair, the first with the score if there is one. Always cut.
 *
 * @throws WhittleError `BAD_DATA` if `labels` lack a row's label or tag, or preprocessing leaves nothing of a text; `BAD_OPTION` for a stride that is too long.
 * @example
 * const { examples, truncated } = encodeRows(data.train.rows, data.task, { tokenizer, labels: data.labels, maxLength: 128 });
 */
export function encodeRows(rows: readonly Row[], task: Task, options: RowEncodingOptions): EncodedRows {
  if (task === 'token-classification') return encodeTokenRows(rows as readonly TokenRow[], options);
  if (task === 'embedding') return encodePairs(rows as readonly ScoredRow[], options);
  return encodeTextRows(rows as readonly Exclude<Row, TokenRow>[], options, task);
}

/** Texts, or pairs of them, as `encodeRows` has them. */
export function encodeTextRows(
  rows: readonly Exclude<Row, TokenRow>[],
  options: RowEncodingOptions,
  task: Task = 'text-classification',
): EncodedRows {
  const { longTexts } = options;
  const labelsOf = labelReader(task, options);
  const result: EncodedRows = { examples: [], truncated: 0 };
  // Pairs are cut in place of windows, so they need another limit than single texts.
  const inWindows = (index: number) => longTexts === 'windows' && rows[index]!.textPair === undefined;
  forEachEncoding(rows, options, inWindows, (encoding, index) => {
    const label = labelsOf(rows[index]!, index);
    if (encoding.truncated) result.truncated++;
    for (const { inputIds, tokenTypeIds } of inWindows(index) ? windowsOf(encoding, options) : [encoding]) {
      result.examples.push({ inputIds, tokenTypeIds, ...label, ...(longTexts === 'windows' && { row: index }) });
    }
  });
  return result;
}

/** Rows of words, as `encodeRows` has them. Words beyond `maxLength` have no tokens unless there are windows. */
export function encodeTokenRows(rows: readonly TokenRow[], options: RowEncodingOptions): EncodedRows {
  const inWindows = options.longTexts === 'windows';
  const classIds = classIdsOf(options.labels);
  const result: EncodedRows = { examples: [], truncated: 0 };
  forEachEncoding(
    rows,
    options,
    () => inWindows,
    (encoding, index) => {
      const { tags } = rows[index]!;
      if (encoding.truncated) result.truncated++;
      const tagIds = classIds && tags && wordTagIds(tags, classIds, index, options);
      for (const { inputIds, tokenTypeIds, wordIds } of inWindows ? windowsOf(encoding, options) : [encoding]) {
        const example: Example = { inputIds, tokenTypeIds, wordIds, ...(inWindows && { row: index }) };
        if (tagIds) {
          example.tokenLabels = wordIds.map((word, token) => {
            if (word < 0) return ignoredLabel;
            return word === wordIds[token - 1] ? tagIds.others[word]! : tagIds.first[word]!;
          });
        }
        result.examples.push(example);
      }
    },
  );
  return result;
}

/** Both texts of each row by themselves. */
function encodePairs(rows: readonly ScoredRow[], options: RowEncodingOptions): EncodedRows {
  const { place } = options;
  const rowOf = (index: number) => index >> 1;
  const placeOfRow = (row: number) => place?.(row) ?? `row ${row}`;
  const result: EncodedRows = { examples: [], truncated: 0 };
  const texts = rows.flatMap(({ text, textPair }, row) => {
    if (textPair !== undefined) return [text, textPair];
    throw new WhittleError('BAD_DATA', `${placeOfRow(row)}: expected "textPair" beside "text" but found none`);
  });
  const ofRow = { ...options, place: (index: number) => placeOfRow(rowOf(index)) };
  let lastTruncated = -1;
  forEachEncoding(
    texts,
    ofRow,
    () => false,
    ({ inputIds, tokenTypeIds, truncated }, index) => {
      const row = rowOf(index);
      const { label } = rows[row]!;
      if (truncated && row !== lastTruncated) result.truncated++;
      if (truncated) lastTruncated = row;
      const target = index % 2 === 0 && label !== undefined ? { target: Float32Array.of(label) } : {};
      result.examples.push({ inputIds, tokenTypeIds, row, ...target });
    },
  );
  return result;
}

/** The tokenizer gets so many inputs at once. */
const inputsAtOnce = 1024;

/** Encodes inputs in their order, without a limit where `isWhole` says so. */
function forEachEncoding(
  inputs: readonly TokenizerInput[],
  { tokenizer, maxLength, place }: RowEncodingOptions,
  isWhole: (index: number) => boolean,
  take: (encoding: Encoding, index: number) => void,
): void {
  for (let from = 0, to = 0; from < inputs.length; from = to) {
    const whole = isWhole(from);
    while (to < inputs.length && to - from < inputsAtOnce && isWhole(to) === whole) to++;
    const options = { maxLength: whole ? Infinity : maxLength, words: true };
    const batch = tokenizer.encodeBatch(inputs.slice(from, to), options);
    for (let index = from; index < to; index++) {
      const error = batch.emptied?.get(index - from);
      if (error) {
        const where = place?.(index) ?? `row ${index}`;
        throw new WhittleError('BAD_DATA', `${where}: ${error.message}`, { cause: error });
      }
      take(encodingOf(batch, index - from), index);
    }
  }
}

function windowsOf(encoding: Encoding, { maxLength, stride }: RowEncodingOptions): TokenWindow[] {
  return cutWindows(encoding, maxLength, stride ?? defaultStride(maxLength));
}

/** What an example gets of a row's label. */
function labelReader(
  task: Task,
  options: RowEncodingOptions,
): (row: Row, index: number) => Pick<Example, 'label' | 'target'> {
  const classIds = classIdsOf(options.labels);
  if (!classIds) return () => ({});
  if (task === 'regression') {
    return (row) => {
      const { label } = row as ScoredRow;
      return label === undefined ? {} : { target: Float32Array.of(label) };
    };
  }
  if (task === 'multi-label-classification') {
    return (row, index) => {
      const { labels } = row as MultiLabelRow;
      if (!labels) return {};
      const target = new Float32Array(classIds.size);
      for (const label of labels) target[classIdOf(label, classIds, index, options)] = 1;
      return { target };
    };
  }
  return (row, index) => {
    const { label } = row as TextRow;
    return label === undefined ? {} : { label: classIdOf(label, classIds, index, options) };
  };
}

/** `[words]` class ids for the first piece of each word and for its others. */
function wordTagIds(
  tags: readonly string[],
  classIds: ReadonlyMap<string, number>,
  index: number,
  options: RowEncodingOptions,
): { first: number[]; others: number[] } {
  const { labelPieces = 'first' } = options;
  const idOf = (tag: string) => classIdOf(tag, classIds, index, options);
  const first = tags.map(idOf);
  if (labelPieces === 'first') return { first, others: first.map(() => ignoredLabel) };
  if (labelPieces === 'all') return { first, others: first };
  const inside = tags.map((tag) => {
    const { prefix, type } = parseTag(tag) ?? { prefix: 'O', type: '' };
    return idOf(prefix === 'B' ? `I-${type}` : tag);
  });
  return { first, others: inside };
}

function classIdsOf(labels: readonly string[] | undefined): ReadonlyMap<string, number> | undefined {
  return labels && new Map(labels.map((label, id) => [label, id]));
}

function classIdOf(
  label: string,
  classIds: ReadonlyMap<string, number>,
  index: number,
  { place }: RowEncodingOptions,
): number {
  const id = classIds.get(label);
  if (id !== undefined) return id;
  throw new WhittleError(
    'BAD_DATA',
    `${place?.(index) ?? `row ${index}`}: expected one of the model's ${classIds.size} labels but found ${describeValue(label)}${didYouMean(label, [...classIds.keys()])}`,
  );
}
