/** Long texts as windows that share tokens, and which window speaks for which word. */
import { WhittleError } from '../../bindings/errors.js';
import type { Encoding } from './tokenizer/tokenizer.js';

/** One window: special tokens around some of a text's tokens. */
export interface TokenWindow {
  /** `[tokens]` */
  inputIds: Int32Array;
  /** `[tokens]` */
  tokenTypeIds: Int32Array;
  /**
   * `[tokens]` index of each token's word in the whole text; -1 for special tokens and for words that another window
   * shows with more of their surroundings. Over all windows of a text every word is there once.
   */
  wordIds: Int32Array;
}

/** Tokens that neighboring windows share unless told: a quarter of a window. */
export function defaultStride(maxLength: number): number {
  return Math.floor(maxLength / 4);
}

/**
 * Cuts an encoded text into windows of at most `maxLength` tokens, special ones included, of which neighbors share
 * `stride` (as Hugging Face's tokenizers do with `stride` and `return_overflowing_tokens`). A text that fits is one
 * window.
 *
 * @param encoding of one whole text, special tokens at its ends.
 * @throws WhittleError `BAD_OPTION` if windows would not move on: `stride` must be below what fits beside the special
 * tokens.
 * @example
 * const windows = cutWindows(tokenizer.encode(text), 128, 32);
 */
export function cutWindows(
  encoding: Pick<Encoding, 'inputIds' | 'tokenTypeIds' | 'wordIds'>,
  maxLength: number,
  stride: number,
): TokenWindow[] {
  const { inputIds, tokenTypeIds, wordIds } = encoding;
  const before = specialsAtStart(wordIds);
  const after = specialsAtStart(wordIds.slice(before).reverse());
  const room = maxLength - before - after;
  if (room < 1 || stride >= room) {
    throw new WhittleError(
      'BAD_OPTION',
      `stride: expected fewer than the ${Math.max(0, room)} tokens that fit into a window of ${maxLength} beside the special ones but found ${stride}`,
    );
  }
  if (inputIds.length <= maxLength) return [{ inputIds, tokenTypeIds, wordIds }];
  const textEnd = inputIds.length - after;
  const step = room - stride;
  const spans: Span[] = [];
  for (let start = before; ; start += step) {
    spans.push({ start, end: Math.min(start + room, textEnd) });
    if (start + room >= textEnd) break;
  }
  const owners = ownersOfTokens(spans, step, wordIds);
  return spans.map((span, index) => ({
    inputIds: cut(inputIds, span, before, after),
    tokenTypeIds: cut(tokenTypeIds, span, before, after),
    wordIds: cut(wordIds, span, before, after, (token) => owners[token] === index),
  }));
}

/** Tokens `start` up to and without `end` of the whole text. */
interface Span {
  start: number;
  end: number;
}

function specialsAtStart(wordIds: Int32Array): number {
  const first = wordIds.findIndex((word) => word >= 0);
  return first < 0 ? wordIds.length : first;
}

/**
 * `[tokens]` the window of each token's word: the one that shows most of what surrounds the word's first token.
 * @param step tokens from the start of a span to that of the next.
 */
function ownersOfTokens(spans: readonly Span[], step: number, wordIds: Int32Array): Int32Array {
  const owners = new Int32Array(wordIds.length).fill(-1);
  const [textStart, textEnd] = [spans[0]!.start, spans.at(-1)!.end];
  let first = 0; // the first span that shows the token
  for (let token = textStart; token < textEnd; token++) {
    while (spans[first]!.end <= token) first++;
    if (token > textStart && wordIds[token] === wordIds[token - 1]) {
      owners[token] = owners[token - 1]!;
      continue;
    }
    const last = Math.min(spans.length - 1, Math.floor((token - textStart) / step));
    let most = -1;
    for (let index = first; index <= last; index++) {
      const { start, end } = spans[index]!;
      // Where the text itself starts or ends, nothing is hidden.
      const left = start === textStart ? Infinity : token - start;
      const right = end === textEnd ? Infinity : end - 1 - token;
      const context = Math.min(left, right);
      if (context > most) [most, owners[token]] = [context, index];
    }
  }
  return owners;
}

/** A span of `values` between what stands at their ends; -1 for tokens that are not the window's own. */
function cut(
  values: Int32Array,
  { start, end }: Span,
  before: number,
  after: number,
  isOwn?: (token: number) => boolean,
): Int32Array {
  const result = new Int32Array(before + end - start + after);
  result.set(values.subarray(0, before));
  result.set(values.subarray(start, end), before);
  result.set(values.subarray(values.length - after), before + end - start);
  if (isOwn) for (let token = start; token < end; token++) if (!isOwn(token)) result[before + token - start] = -1;
  return result;
}
