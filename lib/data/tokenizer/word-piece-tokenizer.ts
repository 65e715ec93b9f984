/** BERT's tokenization, which the native core does: native/text. */
import { withAbortCell } from '../../../bindings/abort.js';
import { WhittleError } from '../../../bindings/errors.js';
import { native } from '../../../bindings/load.js';
import type { TextEncodeOptions, TextEncoderHandle } from '../../../bindings/native.js';
import { describeValue } from '../rows.js';
import type { AddedToken } from './added-tokens.js';
import { encodingOf, type EncodedBatch } from './encoded-batch.js';
import type { TemplateItem, Templates } from './template.js';
import type { BatchOptions, EncodeOptions, Encoding, Tokenizer, TokenizerInput } from './tokenizer.js';
import type { OffsetTrimming } from './trim-offsets.js';

/** The fields of tokenizer.json's BertNormalizer, `strip_accents: null` resolved. */
export interface BertNormalizerOptions {
  cleanText: boolean;
  handleChinese: boolean;
  stripAccents: boolean;
  lowercase: boolean;
}

export interface WordPieceModel {
  vocabulary: Record<string, number>;
  /** Token of a word that the vocabulary cannot spell; it is in the vocabulary. */
  unknown: string;
  /** Prefix of pieces that continue a word: `##`. */
  prefix: string;
  /** Longer words, in code points, are unknown. */
  maxWordLength: number;
}

/** Ids, offsets and word indices are those of Hugging Face's tokenizers. */
export class WordPieceTokenizer implements Tokenizer {
  readonly hasOffsets = true;
  readonly #encoder: TextEncoderHandle;

  constructor(
    normalizer: BertNormalizerOptions,
    { vocabulary, unknown, prefix, maxWordLength }: WordPieceModel,
    templates: Templates,
    addedTokens: readonly AddedToken[],
    trimming?: OffsetTrimming,
  ) {
    const pieces = Object.keys(vocabulary);
    this.#encoder = native.textEncoder({
      ...normalizer,
      vocabulary: pieces.join(''),
      vocabularyLengths: Int32Array.from(pieces, (piece) => piece.length),
      vocabularyIds: Int32Array.from(Object.values(vocabulary)),
      unknown,
      prefix,
      longestWord: Math.min(maxWordLength, 2 ** 31 - 1),
      added: addedTokens.map(({ id, content, single_word, lstrip, rstrip, normalized }) => ({
        id,
        content: Int32Array.from(content, (character) => character.codePointAt(0)!),
        singleWord: single_word,
        lstrip,
        rstrip,
        normalized,
      })),
      single: itemsOf(templates.single),
      pair: itemsOf(templates.pair),
      trimOffsets: trimming !== undefined,
      keepFirstSpace: trimming?.keepFirstSpace ?? false,
    });
  }

  encode(text: string, { textPair, maxLength }: EncodeOptions = {}): Encoding {
    return this.#encodeOne(textPair === undefined ? text : { text, textPair }, maxLength);
  }

  encodeWords(tokens: readonly string[], { maxLength }: { maxLength?: number | undefined } = {}): Encoding {
    return this.#encodeOne({ tokens }, maxLength);
  }

  #encodeOne(input: TokenizerInput, maxLength: number | undefined): Encoding {
    return encodingOf(this.encodeBatch([input], { maxLength, words: true, places: true }), 0);
  }

  encodeBatch(inputs: readonly TokenizerInput[], options: BatchOptions = {}): EncodedBatch {
    const { text, lengths, forms } = joinInputs(inputs);
    return native.textEncode(this.#encoder, text, lengths, forms, nativeOptions(options));
  }

  encodeBatchAsync(inputs: readonly TokenizerInput[], options: BatchOptions = {}): Promise<EncodedBatch> {
    const { text, lengths, forms } = joinInputs(inputs);
    return withAbortCell(options.signal, (abort) =>
      native.textEncodeAsync(this.#encoder, text, lengths, forms, nativeOptions(options), abort),
    );
  }
}

function nativeOptions({ maxLength, words, places, threads }: BatchOptions): TextEncodeOptions {
  return { maxLength: maxLength ?? Infinity, words: words ?? false, places: places ?? false, threads: threads ?? 0 };
}

/** What the native core calls the places of the texts in a template. */
const texts = { A: -1, B: -2 };

function itemsOf(template: readonly TemplateItem[]): Int32Array {
  return Int32Array.from(
    template.flatMap((item) => ['special' in item ? item.special : texts[item.sequence], item.typeId]),
  );
}

/** The strings of all inputs as one, which goes to the native core in one call. */
function joinInputs(inputs: readonly TokenizerInput[]): { text: string; lengths: Int32Array; forms: Int32Array } {
  const strings: string[] = [];
  const forms = new Int32Array(inputs.length);
  for (let index = 0; index < inputs.length; index++) {
    const input = inputs[index]!;
    if (typeof input === 'string') {
      strings.push(input);
    } else if (typeof input !== 'object' || input === null) {
      strings.push(input); // refused below
    } else if ('tokens' in input) {
      forms[index] = 2 + input.tokens.length;
      for (const token of input.tokens) strings.push(token);
    } else {
      strings.push(input.text);
      if (input.textPair !== undefined) {
        strings.push(input.textPair);
        forms[index] = 1;
      }
    }
  }
  const lengths = new Int32Array(strings.length);
  for (let index = 0; index < strings.length; index++) {
    const string: unknown = strings[index];
    if (typeof string !== 'string')
      throw new WhittleError('BAD_DATA', `Expected a text to tokenize but found ${describeValue(string)}`);
    lengths[index] = string.length;
  }
  return { text: strings.length === 1 ? strings[0]! : strings.join(''), lengths, forms };
}
