/** Text to token ids, as tokenizer.json says and as Hugging Face's tokenizers do it, with character offsets. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../../bindings/errors.js';
import { checkOptions, didYouMean } from '../../options.js';
import type { ModelDescription } from '../../models/description.js';
import { PreprocessingTokenizer } from '../preprocess/preprocessing-tokenizer.js';
import { readPreprocessing, type Preprocessing } from '../preprocess/preprocessing.js';
import type { AddedToken } from './added-tokens.js';
import { byteCharacters } from './byte-pairs.js';
import { ByteLevelTokenizer } from './byte-level-tokenizer.js';
import type { EncodedBatch } from './encoded-batch.js';
import { LibraryTokenizer } from './library-tokenizer.js';
import { readTemplates, type Templates } from './template.js';
import type { OffsetTrimming } from './trim-offsets.js';
import { WordPieceTokenizer } from './word-piece-tokenizer.js';

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

/** A text, a pair of texts, or words that were split before. */
export type TokenizerInput = string | { text: string; textPair?: string | undefined } | { tokens: readonly string[] };

export interface BatchOptions {
  /** Most tokens of an input, special ones included. No limit if absent. */
  maxLength?: number | undefined;
  /** Whether word indices are told. */
  words?: boolean | undefined;
  /** Whether places in the text are told. */
  places?: boolean | undefined;
  /** Threads at most, where the tokenizer uses them; 0, the default, is the machine's. */
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
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
  /** Many inputs as one ragged batch. What preprocessing leaves nothing of is told, not thrown. */
  encodeBatch(inputs: readonly TokenizerInput[], options?: BatchOptions): EncodedBatch;
  /** The same, off the JavaScript thread where the tokenizer is native. */
  encodeBatchAsync(inputs: readonly TokenizerInput[], options?: BatchOptions): Promise<EncodedBatch>;
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

/** Kinds of models that whittle or @huggingface/tokenizers run; that library guesses at others by their vocabulary. */
const modelTypes = ['WordPiece', 'BPE', 'Unigram', 'WordLevel'];

const highestId = 2 ** 31 - 1;
const vocabulary = z.record(z.string(), z.int('expected a whole number').min(0).max(highestId));

const wordPieceSchema = z.object({
  vocab: vocabulary,
  unk_token: z.string().default('[UNK]'),
  continuing_subword_prefix: z.string().default('##'),
  max_input_chars_per_word: z.number().int().positive().default(100),
});

const byteLevelSchema = z.object({
  add_prefix_space: z.boolean().default(true),
  use_regex: z.boolean().default(true),
});

const bytePairSchema = z.object({
  vocab: vocabulary,
  merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
  dropout: z.number().nullish(),
  unk_token: z.string().nullish(),
  continuing_subword_prefix: z.string().nullish(),
  end_of_word_suffix: z.string().nullish(),
  fuse_unk: z.boolean().nullish(),
  byte_fallback: z.boolean().nullish(),
  ignore_merges: z.boolean().nullish(),
});

/** A loop over tens of thousands of entries takes a fraction of the schema's time; if it finds a fault, the schema tells it. */
function withoutVocabulary<S extends typeof wordPieceSchema | typeof bytePairSchema>(
  schema: S,
  { vocab }: object & { vocab?: unknown },
): S {
  const isChecked =
    typeof vocab === 'object' &&
    vocab !== null &&
    !Array.isArray(vocab) &&
    Object.values(vocab).every(
      (id: unknown) => Number.isInteger(id) && (id as number) >= 0 && (id as number) <= highestId,
    );
  return isChecked ? (schema.extend({ vocab: z.custom() }) as unknown as S) : schema;
}

const robertaProcessingSchema = z.looseObject({
  trim_offsets: z.boolean().default(true),
  add_prefix_space: z.boolean().default(true),
});

/** What a tokenizer must fit. */
export type TokenizedModel = Pick<ModelDescription, 'vocabulary' | 'tokenTypes'>;

/**
 * The tokenizer of a checkpoint folder, from its `tokenizer.json`. For WordPiece with BERT's normalizer and
 * pre-tokenizer, and for byte-level BPE (RoBERTa), ids, offsets and word indices are those of Hugging Face's
 * `tokenizers`. Other kinds go through @huggingface/tokenizers, which tells ids alone. Texts are preprocessed first, as
 * the checkpoint's `preprocessing.json` says.
 *
 * @param model that the tokenizer must fit; not checked if absent.
 * @param preprocessing in place of the checkpoint's own.
 * @throws WhittleError `BAD_CHECKPOINT` if the file is missing, malformed or of a model with another vocabulary,
 * `UNSUPPORTED` for a kind that neither knows.
 * @example
 * const tokenizer = await loadTokenizer('models/minilm-l6');
 * const { inputIds, offsets } = tokenizer.encode('My card never arrived', { maxLength: 128 });
 */
export async function loadTokenizer(
  folder: string,
  model?: TokenizedModel,
  preprocessing?: Preprocessing,
): Promise<Tokenizer> {
  const tokenizer = await loadPlainTokenizer(folder, model);
  const chosen = preprocessing ?? (await readPreprocessing(folder));
  return chosen && chosen.steps.length > 0 ? new PreprocessingTokenizer(tokenizer, chosen) : tokenizer;
}

/** What checkpoints have whose tokenizer was never saved as tokenizer.json. */
const olderTokenizerFiles = ['vocab.txt', 'vocab.json', 'sentencepiece.bpe.model', 'spiece.model'];

async function loadPlainTokenizer(folder: string, model: TokenizedModel | undefined): Promise<Tokenizer> {
  const file = join(folder, 'tokenizer.json');
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') {
      const old = olderTokenizerFiles.find((name) => existsSync(join(folder, name)));
      const way = '(save_pretrained of a fast tokenizer of Transformers does)';
      throw new WhittleError(
        'BAD_CHECKPOINT',
        `${file}: no such file; expected the tokenizer of the checkpoint` +
          (old === undefined ? '' : `; what ${old} holds has to be saved as tokenizer.json first ${way}`),
      );
    }
    throw new WhittleError('IO', `${file} could not be read: ${cause.message}`, { cause });
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new WhittleError('BAD_CHECKPOINT', `${file}: expected JSON but found ${(cause as Error).message}`, { cause });
  }
  return createTokenizer(json, file, model);
}

/** The tokenizer that the contents of a `tokenizer.json` describe; `file` names it in errors. */
export function createTokenizer(json: unknown, file: string, model?: TokenizedModel): Tokenizer {
  const tokenizer = checkOptions(tokenizerSchema, json, file, 'BAD_CHECKPOINT');
  checkVocabulary(tokenizer, file, model);
  const templates = readTemplates(tokenizer.post_processor);
  if (templates === undefined) {
    const found = tokenizer.post_processor!.type;
    throw new WhittleError(
      'UNSUPPORTED',
      `${file}: expected a post_processor of type TemplateProcessing, BertProcessing or RobertaProcessing but found ${found}`,
    );
  }
  if (model && model.tokenTypes > 0) checkTypes(templates, file, model.tokenTypes);
  const { model: rules, normalizer, pre_tokenizer: preTokenizer, added_tokens: addedTokens } = tokenizer;
  if (rules.type !== undefined && !modelTypes.includes(rules.type))
    throw new WhittleError(
      'UNSUPPORTED',
      `${file}: model.type: expected ${modelTypes.join(', ')} but found "${rules.type}"${didYouMean(rules.type, modelTypes)}`,
    );
  const kinds = [rules.type ?? (rules.merges ? 'BPE' : 'WordPiece'), normalizer?.type, preTokenizer?.type].join();
  if (kinds === 'WordPiece,BertNormalizer,BertPreTokenizer')
    return createWordPieceTokenizer(tokenizer, templates, addedTokens, file);
  const byteLevel = kinds === 'BPE,,ByteLevel' && createByteLevelTokenizer(tokenizer, templates, addedTokens, file);
  return byteLevel || new LibraryTokenizer(json as object, templates, file);
}

type TokenizerFile = z.output<typeof tokenizerSchema>;

function createWordPieceTokenizer(
  { normalizer, model, post_processor: postProcessor }: TokenizerFile,
  templates: Templates,
  addedTokens: AddedToken[],
  file: string,
): WordPieceTokenizer {
  const options = checkOptions(bertNormalizerSchema, normalizer, `${file} (normalizer)`, 'BAD_CHECKPOINT');
  const rules = checkOptions(withoutVocabulary(wordPieceSchema, model), model, `${file} (model)`, 'BAD_CHECKPOINT');
  if (!Object.hasOwn(rules.vocab, rules.unk_token)) {
    throw new WhittleError(
      'BAD_CHECKPOINT',
      `${file}: expected the unknown token "${rules.unk_token}" in the vocabulary but it is not there`,
    );
  }
  return new WordPieceTokenizer(
    {
      cleanText: options.clean_text,
      handleChinese: options.handle_chinese_chars,
      stripAccents: options.strip_accents ?? options.lowercase,
      lowercase: options.lowercase,
    },
    {
      vocabulary: rules.vocab,
      unknown: rules.unk_token,
      prefix: rules.continuing_subword_prefix,
      maxWordLength: rules.max_input_chars_per_word,
    },
    templates,
    addedTokens,
    readTrimming(postProcessor, file),
  );
}

/** @returns undefined for rules that go beyond GPT-2's and RoBERTa's. */
function createByteLevelTokenizer(
  { pre_tokenizer: preTokenizer, post_processor: postProcessor, model }: TokenizerFile,
  templates: Templates,
  addedTokens: AddedToken[],
  file: string,
): ByteLevelTokenizer | undefined {
  const cutting = checkOptions(byteLevelSchema, preTokenizer, `${file} (pre_tokenizer)`, 'BAD_CHECKPOINT');
  const rules = checkOptions(withoutVocabulary(bytePairSchema, model), model, `${file} (model)`, 'BAD_CHECKPOINT');
  const { dropout, continuing_subword_prefix: prefix, end_of_word_suffix: suffix } = rules;
  const vocabulary = new Map(Object.entries(rules.vocab));
  const lacksBytes = byteCharacters.some((character) => !vocabulary.has(character));
  if (dropout || prefix || suffix || rules.byte_fallback || rules.ignore_merges || !cutting.use_regex) return undefined;
  if (rules.unk_token && lacksBytes) return undefined;
  const merges = rules.merges.map((merge) => (typeof merge === 'string' ? splitMerge(merge) : merge));
  try {
    return new ByteLevelTokenizer(
      { addPrefixSpace: cutting.add_prefix_space, trimming: readTrimming(postProcessor, file) },
      { vocabulary, merges },
      templates,
      addedTokens,
    );
  } catch (cause) {
    throw new WhittleError('BAD_CHECKPOINT', `${file} (model): ${(cause as Error).message}`, { cause });
  }
}

function readTrimming(postProcessor: TokenizerFile['post_processor'], file: string): OffsetTrimming | undefined {
  if (postProcessor?.type !== 'RobertaProcessing') return undefined;
  const read = checkOptions(robertaProcessingSchema, postProcessor, `${file} (post_processor)`, 'BAD_CHECKPOINT');
  return read.trim_offsets ? { keepFirstSpace: read.add_prefix_space } : undefined;
}

/** `a b` as older files write it. */
function splitMerge(merge: string): [string, string] {
  const space = merge.indexOf(' ');
  return [merge.slice(0, space), merge.slice(space + 1)];
}

/** @throws WhittleError BAD_CHECKPOINT for a file without words, or with more than the model has embeddings for. */
function checkVocabulary({ model: rules, added_tokens }: TokenizerFile, file: string, model?: TokenizedModel): void {
  const { vocab } = rules;
  // Unigram has a list of [token, score], the others an object of ids.
  const words = Array.isArray(vocab)
    ? vocab.length
    : vocab && typeof vocab === 'object'
      ? Object.keys(vocab).length
      : 0;
  if (vocab !== undefined && words === 0)
    throw new WhittleError('BAD_CHECKPOINT', `${file}: model.vocab: expected words with their ids but found none`);
  if (!model) return;
  let highest = Math.max(-1, ...added_tokens.map(({ id }) => id));
  if (Array.isArray(vocab)) highest = Math.max(highest, vocab.length - 1);
  else for (const id of Object.values(vocab ?? {})) highest = Math.max(highest, Number(id));
  if (highest >= model.vocabulary)
    throw new WhittleError(
      'BAD_CHECKPOINT',
      `${file}: expected ids below ${model.vocabulary}, the size of the model's vocabulary, but found ${highest}; ` +
        'is this the tokenizer of another model?',
    );
}

/** @throws WhittleError BAD_CHECKPOINT if the templates tell texts apart by types that the model has no embedding of. */
function checkTypes({ single, pair }: Templates, file: string, tokenTypes: number): void {
  const highest = Math.max(0, ...[...single, ...pair].map(({ typeId }) => typeId));
  if (highest < tokenTypes) return;
  throw new WhittleError(
    'BAD_CHECKPOINT',
    `${file}: post_processor: expected token types below ${tokenTypes}, those that the model has, but found ${highest}; ` +
      'is this the tokenizer of another model?',
  );
}
