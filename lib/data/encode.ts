/** From rows to examples: token ids and label ids. */
import { WhittleError } from '../../bindings/errors.js';
import { didYouMean } from '../options.js';
import type { Example } from './batch.js';
import type { Row, Task, TextRow, TokenRow } from './dataset.js';
import { describeValue } from './rows.js';
import type { Tokenizer } from './tokenizer/tokenizer.js';

export interface RowEncodingOptions {
  tokenizer: Tokenizer;
  /** Class names; a label's index is its class id. Without them examples carry no labels. */
  labels?: readonly string[] | undefined;
  /** Most tokens of an example, special ones included: the model's `positions` or less. */
  maxLength: number;
  /** Where each row came from, for errors: `train.jsonl:17`. Default `row 0` and so on. */
  place?: ((index: number) => string) | undefined;
}

export interface EncodedRows {
  examples: Example[];
  /** How many rows had more than `maxLength` tokens and lost the rest. */
  truncated: number;
}

/** Tokens without a label: special ones, and word pieces after a word's first. The loss ignores them. */
export const ignoredLabel = -100;

/**
 * Texts, or pairs of them, as examples in the order given.
 *
 * @throws WhittleError `BAD_DATA` if `labels` lack a row's label.
 * @example
 * const { examples, truncated } = encodeTextRows(data.train.rows, { tokenizer, labels: data.labels, maxLength: 128 });
 */
export function encodeTextRows(rows: readonly TextRow[], options: RowEncodingOptions): EncodedRows {
  const { tokenizer, maxLength } = options;
  const classIds = classIdsOf(options.labels);
  let truncated = 0;
  const examples = rows.map(({ text, textPair, label }, index) => {
    const encoding = tokenizer.encode(text, { textPair, maxLength });
    if (encoding.truncated) truncated++;
    const example: Example = { inputIds: encoding.inputIds, tokenTypeIds: encoding.tokenTypeIds };
    if (classIds && label !== undefined) example.label = classIdOf(label, classIds, index, options);
    return example;
  });
  return { examples, truncated };
}

/**
 * Rows of words as examples in the order given. A word's tag goes to its first piece; the other pieces and the special
 * tokens get -100. Words beyond `maxLength` have no tokens.
 *
 * @throws WhittleError `BAD_DATA` if `labels` lack a row's tag.
 */
export function encodeTokenRows(rows: readonly TokenRow[], options: RowEncodingOptions): EncodedRows {
  const { tokenizer, maxLength } = options;
  const classIds = classIdsOf(options.labels);
  let truncated = 0;
  const examples = rows.map(({ tokens, tags }, index) => {
    const { inputIds, tokenTypeIds, wordIds, truncated: cut } = tokenizer.encodeWords(tokens, { maxLength });
    if (cut) truncated++;
    const example: Example = { inputIds, tokenTypeIds, wordIds };
    if (classIds && tags) {
      const tagIds = tags.map((tag) => classIdOf(tag, classIds, index, options));
      example.tokenLabels = wordIds.map((word, token) =>
        word >= 0 && word !== wordIds[token - 1] ? tagIds[word]! : ignoredLabel,
      );
    }
    return example;
  });
  return { examples, truncated };
}

/** `encodeTextRows` or `encodeTokenRows`, whichever the task needs. */
export function encodeRows(rows: readonly Row[], task: Task, options: RowEncodingOptions): EncodedRows {
  return task === 'token-classification'
    ? encodeTokenRows(rows as readonly TokenRow[], options)
    : encodeTextRows(rows as readonly TextRow[], options);
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
