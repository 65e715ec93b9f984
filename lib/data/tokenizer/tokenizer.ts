/** Text to token ids, as tokenizer.json says and as Hugging Face's tokenizers do it, with character offsets. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../../bindings/errors.js';
import { checkOptions } from '../../options.js';
import { readTemplates } from './template.js';
import { BertTokenizer } from './bert-tokenizer.js';
import { LibraryTokenizer } from './library-tokenizer.js';

/** One text, or two, or a row of words, as tokens. */
export interface Encoding {
  /** `[tokens]` with special tokens. */
  inputIds: Int32Array;
  /** `[tokens]`, 0 for the first text and 1 for the second where the model tells them apart. */
  tokenTypeIds: Int32Array;
  /**
   * `[tokens, 2]`: where each token starts and ends in the text as given, in UTF-16 code units (what `String.slice`
   * takes); in the second text for its tokens, in their own word for tokens of words. 0, 0 for special tokens.
   */
  offsets: Int32Array;
  /** `[tokens]`: index of each token's word, -1 for special tokens. Words of a second text are counted anew. */
  wordIds: Int32Array;
  /** Whether tokens were cut off because there were more than `maxLength`. */
  truncated: boolean;
}

export interface EncodeOptions {
  /** A second text, for models of sentence pairs. */
  textPair?: string | undefined;
  /** Most tokens, special ones included. No limit if absent. */
  maxLength?: number | undefined;
}

export interface Tokenizer {
  /** Whether `encode` tells offsets and words; if not, offsets are 0 and all of a text is word 0. */
  readonly hasOffsets: boolean;
  /**
   * A text as tokens. What exceeds `maxLength` is cut off at the end; of two texts the longer one is cut first.
   * Lone surrogates count as U+FFFD.
   */
  encode(text: string, options?: EncodeOptions): Encoding;
  /** Words that were split before, each tokenized by itself; a word may have no tokens at all. */
  encodeWords(words: readonly string[], options?: { maxLength?: number | undefined }): Encoding;
}

const addedTokenSchema = z.object({
  id: z.number().int().nonnegative(),
  content: z.string(),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(false),
});

const tokenizerSchema = z.object({
  added_tokens: z.array(addedTokenSchema).default([]),
  normalizer: z.looseObject({ type: z.string() }).nullish(),
  pre_tokenizer: z.looseObject({ type: z.string() }).nullish(),
  post_processor: z.looseObject({ type: z.string() }).nullish(),
  model: z.looseObject({ type: z.string().optional() }),
});

const bertNormalizerSchema = z.object({
  clean_text: z.boolean().default(true),
  handle_chinese_chars: z.boolean().default(true),
  strip_accents: z.boolean().nullish(),
  lowercase: z.boolean().default(true),
});

const wordPieceSchema = z.object({
  vocab: z.record(z.string(), z.number().int().nonnegative()),
  unk_token: z.string().default('[UNK]'),
  continuing_subword_prefix: z.string().default('##'),
  max_input_chars_per_word: z.number().int().positive().default(100),
});

/**
 * The tokenizer of a checkpoint folder, from its `tokenizer.json`. For WordPiece with BERT's normalizer and
 * pre-tokenizer, ids, offsets and word indices are those of Hugging Face's `tokenizers`. Other kinds go through
 * @huggingface/tokenizers, which tells ids alone.
 *
 * @throws WhittleError `BAD_CHECKPOINT` if the file is missing or malformed, `UNSUPPORTED` for a kind
 * that neither knows.
 * @example
 * const tokenizer = await loadTokenizer('models/minilm-l6');
 * const { inputIds, offsets } = tokenizer.encode('My card never arrived', { maxLength: 128 });
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const file = join(folder, 'tokenizer.json');
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new WhittleError(
      'BAD_CHECKPOINT',
      `${file}: expected the tokenizer of the checkpoint, but it cannot be read`,
      {
        cause,
      },
    );
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new WhittleError('BAD_CHECKPOINT', `${file}: expected JSON but found ${(cause as Error).message}`, { cause });
  }
  return createTokenizer(json, file);
}

/** The tokenizer that the contents of a `tokenizer.json` describe; `file` names it in errors. */
export function createTokenizer(json: unknown, file: string): Tokenizer {
  const tokenizer = checkOptions(tokenizerSchema, json, file, 'BAD_CHECKPOINT');
  const templates = readTemplates(tokenizer.post_processor);
  if (templates === undefined) {
    const found = tokenizer.post_processor!.type;
    throw new WhittleError(
      'UNSUPPORTED',
      `${file}: expected a post_processor of type TemplateProcessing, BertProcessing or RobertaProcessing but found ${found}`,
    );
  }
  const kinds = [tokenizer.model.type ?? 'WordPiece', tokenizer.normalizer?.type, tokenizer.pre_tokenizer?.type];
  if (kinds.join() !== 'WordPiece,BertNormalizer,BertPreTokenizer') {
    return new LibraryTokenizer(json as object, templates, file);
  }
  const normalizer = checkOptions(bertNormalizerSchema, tokenizer.normalizer, `${file} (normalizer)`, 'BAD_CHECKPOINT');
  const model = checkOptions(wordPieceSchema, tokenizer.model, `${file} (model)`, 'BAD_CHECKPOINT');
  const unknownId = model.vocab[model.unk_token];
  if (unknownId === undefined) {
    throw new WhittleError(
      'BAD_CHECKPOINT',
      `${file}: expected the unknown token "${model.unk_token}" in the vocabulary but it is not there`,
    );
  }
  return new BertTokenizer(
    {
      cleanText: normalizer.clean_text,
      handleChinese: normalizer.handle_chinese_chars,
      stripAccents: normalizer.strip_accents ?? normalizer.lowercase,
      lowercase: normalizer.lowercase,
    },
    {
      vocabulary: new Map(Object.entries(model.vocab)),
      unknownId,
      prefix: model.continuing_subword_prefix,
      maxWordLength: model.max_input_chars_per_word,
    },
    templates,
    tokenizer.added_tokens,
  );
}
