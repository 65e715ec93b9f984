/** A tokenizer that preprocesses first and tells places in the text as given. */
import { WhittleError } from '../../../bindings/errors.js';
import type { EncodeOptions, Encoding, Tokenizer } from '../tokenizer/tokenizer.js';
import type { MappedText } from './mapped-text.js';
import type { Preprocessing } from './preprocessing.js';

/** Preprocessing left nothing of a text. */
export class EmptiedTextError extends WhittleError {
  constructor() {
    super('BAD_DATA', 'expected text to be left after preprocessing but found none');
  }
}

export class PreprocessingTokenizer implements Tokenizer {
  readonly hasOffsets: boolean;

  constructor(
    private readonly inner: Tokenizer,
    readonly preprocessing: Preprocessing,
  ) {
    this.hasOffsets = inner.hasOffsets;
  }

  /** @throws EmptiedTextError */
  encode(text: string, options: EncodeOptions = {}): Encoding {
    const first = this.#applied(text);
    const second = options.textPair === undefined ? undefined : this.#applied(options.textPair);
    const encoding = this.inner.encode(first.text, { ...options, textPair: second?.text });
    if (!this.hasOffsets) return encoding;
    const places = textsOf(encoding.wordIds).map((which) => [first, second][which]);
    return { ...encoding, offsets: originalOffsets(encoding.offsets, places) };
  }

  /** @throws EmptiedTextError if nothing is left of any word. */
  encodeWords(words: readonly string[], options?: { maxLength?: number | undefined }): Encoding {
    const applied = words.map((word) => this.preprocessing.apply(word));
    if (words.length > 0 && applied.every(({ text }) => text.trim() === '')) throw new EmptiedTextError();
    const encoding = this.inner.encodeWords(
      applied.map(({ text }) => text),
      options,
    );
    if (!this.hasOffsets) return encoding;
    const places = Array.from(encoding.wordIds, (word) => applied[word]);
    return { ...encoding, offsets: originalOffsets(encoding.offsets, places) };
  }

  #applied(text: string): MappedText {
    const applied = this.preprocessing.apply(text);
    if (applied.text.trim() === '') throw new EmptiedTextError();
    return applied;
  }
}

/** For each token 0 if it is of the first text, 1 of the second, -1 of none: between the texts stand special tokens. */
function textsOf(wordIds: Int32Array): number[] {
  let text = 0;
  let hasWords = false;
  return Array.from(wordIds, (word) => {
    if (word >= 0) {
      hasWords = true;
      return text;
    }
    if (hasWords) {
      text = 1;
      hasWords = false;
    }
    return -1;
  });
}

/** @param offsets `[tokens, 2]` in the texts that `places` holds for each token. */
function originalOffsets(offsets: Int32Array, places: readonly (MappedText | undefined)[]): Int32Array {
  const result = new Int32Array(offsets.length);
  places.forEach((text, token) => {
    const [start, end] = [offsets[2 * token]!, offsets[2 * token + 1]!];
    if (!text || end <= start) return;
    result.set(text.originalOf(start, end), 2 * token);
  });
  return result;
}
