/** A tokenizer that preprocesses first and tells places in the text as given. */
import { encodingOf, type EncodedBatch } from '../tokenizer/encoded-batch.js';
import type { BatchOptions, EncodeOptions, Encoding, Tokenizer, TokenizerInput } from '../tokenizer/tokenizer.js';
import { EmptiedTextError } from './emptied-text.js';
import type { MappedText } from './mapped-text.js';
import type { Preprocessing } from './preprocessing.js';

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
    const applied = this.#appliedWords(words);
    const encoding = this.inner.encodeWords(
      applied.map(({ text }) => text),
      options,
    );
    if (!this.hasOffsets) return encoding;
    const places = Array.from(encoding.wordIds, (word) => applied[word]);
    return { ...encoding, offsets: originalOffsets(encoding.offsets, places) };
  }

  encodeBatch(inputs: readonly TokenizerInput[], options: BatchOptions = {}): EncodedBatch {
    const applied = this.#applyToAll(inputs);
    return this.#restore(applied, this.inner.encodeBatch(applied.kept, withWords(options)));
  }

  async encodeBatchAsync(inputs: readonly TokenizerInput[], options: BatchOptions = {}): Promise<EncodedBatch> {
    const applied = this.#applyToAll(inputs);
    return this.#restore(applied, await this.inner.encodeBatchAsync(applied.kept, withWords(options)));
  }

  #applied(text: string): MappedText {
    const applied = this.preprocessing.apply(text);
    if (applied.text.trim() === '') throw new EmptiedTextError();
    return applied;
  }

  #appliedWords(words: readonly string[]): MappedText[] {
    const applied = words.map((word) => this.preprocessing.apply(word));
    if (words.length > 0 && applied.every(({ text }) => text.trim() === '')) throw new EmptiedTextError();
    return applied;
  }

  #applyToAll(inputs: readonly TokenizerInput[]): AppliedInputs {
    const applied: AppliedInputs = { inputs: inputs.length, kept: [], texts: [], emptied: new Map() };
    inputs.forEach((input, index) => {
      try {
        if (typeof input === 'object' && 'tokens' in input) {
          const words = this.#appliedWords(input.tokens);
          applied.texts.push(words);
          applied.kept.push({ tokens: words.map(({ text }) => text) });
          return;
        }
        const { text, textPair } = typeof input === 'string' ? { text: input, textPair: undefined } : input;
        const [first, second] = [this.#applied(text), textPair === undefined ? undefined : this.#applied(textPair)];
        applied.texts.push(second ? [first, second] : [first]);
        applied.kept.push({ text: first.text, textPair: second?.text });
      } catch (error) {
        if (!(error instanceof EmptiedTextError)) throw error;
        applied.emptied.set(index, error);
      }
    });
    return applied;
  }

  /** The batch of the inputs that were kept, with places in the texts as given and the emptied ones back in. */
  #restore({ inputs, kept, texts, emptied }: AppliedInputs, batch: EncodedBatch): EncodedBatch {
    if (this.hasOffsets && batch.places.length > 0)
      kept.forEach((input, index) => {
        const { wordIds, offsets } = encodingOf(batch, index);
        const ofTokens = typeof input === 'object' && 'tokens' in input ? wordIds : textsOf(wordIds);
        const places = Array.from(ofTokens, (which) => texts[index]![which]);
        offsets.set(originalOffsets(offsets, places));
      });
    if (emptied.size === 0) return batch;
    const offsets = new Int32Array(inputs + 1);
    const truncated = new Uint8Array(inputs);
    for (let index = 0, row = 0; index < inputs; index++) {
      if (!emptied.has(index)) truncated[index] = batch.truncated[row++]!;
      offsets[index + 1] = batch.offsets[row]!;
    }
    return { ...batch, offsets, truncated, emptied };
  }
}

/** Inputs after preprocessing. */
interface AppliedInputs {
  /** How many were given. */
  inputs: number;
  /** Those of which something is left, and their texts or words. */
  kept: TokenizerInput[];
  texts: MappedText[][];
  emptied: Map<number, EmptiedTextError>;
}

/** Which text of a pair a token is from is told by the words. */
function withWords(options: BatchOptions): BatchOptions {
  return options.places ? { ...options, words: true } : options;
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
