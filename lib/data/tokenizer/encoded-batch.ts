/** Many inputs as tokens, end to end. */
import type { EncodedTexts } from '../../../bindings/native.js';
import { EmptiedTextError } from '../preprocess/emptied-text.js';
import type { BatchOptions, Encoding, Tokenizer, TokenizerInput } from './tokenizer.js';

/** A ragged batch of encoded inputs, in their order. */
export interface EncodedBatch extends EncodedTexts {
  /** Inputs of which preprocessing left nothing, by index; they have no tokens. */
  emptied?: ReadonlyMap<number, EmptiedTextError>;
}

/** One input of a batch; arrays are views. Offsets and word indices are empty if the batch has none. */
export function encodingOf(batch: EncodedBatch, index: number): Encoding {
  const [start, end] = [batch.offsets[index]!, batch.offsets[index + 1]!];
  const { places, wordIds } = batch;
  return {
    inputIds: batch.inputIds.subarray(start, end),
    tokenTypeIds: batch.tokenTypeIds.subarray(start, end),
    // A view costs more than a short text's share of all else, so that there are none of nothing.
    offsets: places.length === 0 ? places : places.subarray(2 * start, 2 * end),
    wordIds: wordIds.length === 0 ? wordIds : wordIds.subarray(start, end),
    truncated: batch.truncated[index] === 1,
  };
}

/** A batch by way of a tokenizer that takes one input at a time. */
export function encodeEach(
  tokenizer: Pick<Tokenizer, 'encode' | 'encodeWords'>,
  inputs: readonly TokenizerInput[],
  { maxLength, words = false, places = false }: BatchOptions,
): EncodedBatch {
  const emptied = new Map<number, EmptiedTextError>();
  const encodings = inputs.map((input, index) => {
    try {
      if (typeof input === 'string') return tokenizer.encode(input, { maxLength });
      if ('tokens' in input) return tokenizer.encodeWords(input.tokens, { maxLength });
      return tokenizer.encode(input.text, { textPair: input.textPair, maxLength });
    } catch (error) {
      if (!(error instanceof EmptiedTextError)) throw error;
      emptied.set(index, error);
      return undefined;
    }
  });
  return { ...joinEncodings(encodings, { words, places }), ...(emptied.size > 0 && { emptied }) };
}

function joinEncodings(
  encodings: readonly (Encoding | undefined)[],
  { words, places }: { words: boolean; places: boolean },
): EncodedTexts {
  const tokens = encodings.reduce((sum, encoding) => sum + (encoding?.inputIds.length ?? 0), 0);
  const batch: EncodedTexts = {
    inputIds: new Int32Array(tokens),
    tokenTypeIds: new Int32Array(tokens),
    offsets: new Int32Array(encodings.length + 1),
    wordIds: new Int32Array(words ? tokens : 0),
    places: new Int32Array(places ? 2 * tokens : 0),
    truncated: new Uint8Array(encodings.length),
  };
  let at = 0;
  encodings.forEach((encoding, index) => {
    if (encoding) {
      batch.inputIds.set(encoding.inputIds, at);
      batch.tokenTypeIds.set(encoding.tokenTypeIds, at);
      if (words) batch.wordIds.set(encoding.wordIds, at);
      if (places) batch.places.set(encoding.offsets, 2 * at);
      batch.truncated[index] = encoding.truncated ? 1 : 0;
      at += encoding.inputIds.length;
    }
    batch.offsets[index + 1] = at;
  });
  return batch;
}
