/** The WordPiece tokenizer: native/addon/text_glue.cc. */

/** Opaque: a WordPiece tokenizer. */
export interface TextEncoderHandle {
  readonly textEncoder: unique symbol;
}

/** What tokenizer.json says of a WordPiece tokenizer with BERT's normalizer and pre-tokenizer. */
export interface TextEncoderSpec {
  /** BertNormalizer. */
  cleanText: boolean;
  handleChinese: boolean;
  stripAccents: boolean;
  lowercase: boolean;
  /** Every entry end to end, the UTF-16 code units of each, and its id. */
  vocabulary: string;
  vocabularyLengths: Int32Array;
  vocabularyIds: Int32Array;
  /** `[UNK]`, which must be in the vocabulary, and `##`. */
  unknown: string;
  prefix: string;
  /** In code points; longer words are unknown. */
  longestWord: number;
  /** `content`: code points. */
  added: {
    id: number;
    content: Int32Array;
    singleWord: boolean;
    lstrip: boolean;
    rstrip: boolean;
    normalized: boolean;
  }[];
  /** `[items, 2]` of one text and of a pair: a special token's id, or -1 and -2 for the texts; and a token type. */
  single: Int32Array;
  pair: Int32Array;
  /** RobertaProcessing's `trim_offsets`, with its `add_prefix_space`. */
  trimOffsets: boolean;
  keepFirstSpace: boolean;
}

export interface TextEncodeOptions {
  /** Most tokens of an input, special ones included; may be Infinity. */
  maxLength: number;
  /** What is told beside ids. */
  words: boolean;
  places: boolean;
  /** At most; 0 is the machine's default. Results do not depend on it. */
  threads: number;
}

/** A ragged batch of encoded inputs; all arrays are views of one buffer. */
export interface EncodedTexts {
  /** `[tokens]` */
  inputIds: Int32Array;
  tokenTypeIds: Int32Array;
  /** `[inputs + 1]` */
  offsets: Int32Array;
  /** `[tokens]`, -1 for special tokens; empty if not asked for. */
  wordIds: Int32Array;
  /** `[tokens, 2]` UTF-16 code units of each token's own string; empty if not asked for. */
  places: Int32Array;
  /** `[inputs]`, 1 where tokens were cut off. */
  truncated: Uint8Array;
}

/**
 * native/addon/text_glue.cc. Inputs are strings end to end in `text`, `lengths` `[strings]` UTF-16 code units of each,
 * and `forms` `[inputs]`: 0 for one text, 1 for two, 2 + n for n words.
 */
export interface TextBinding {
  textEncoder(spec: TextEncoderSpec): TextEncoderHandle;
  /** On the calling thread and the pool. */
  textEncode(
    encoder: TextEncoderHandle,
    text: string,
    lengths: Int32Array,
    forms: Int32Array,
    options: TextEncodeOptions,
  ): EncodedTexts;
  /** The same off the JavaScript thread. */
  textEncodeAsync(
    encoder: TextEncoderHandle,
    text: string,
    lengths: Int32Array,
    forms: Int32Array,
    options: TextEncodeOptions,
    abort?: Int32Array,
  ): Promise<EncodedTexts>;
}
