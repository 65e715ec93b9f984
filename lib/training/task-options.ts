/** Options of training that hang on the task: long texts, label pieces, thresholds, embeddings. */
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import type { Dataset, ScoredRow, Split, Task } from '../data/dataset.js';
import type { LabelPieces, LongTexts } from '../data/encode.js';
import { defaultStride } from '../data/windows.js';
import type { Checkpoint } from '../models/checkpoint.js';
import { defaultPooling, type TaskHead } from '../models/description.js';
import { labelPieces, longTexts, type TaskSettings } from '../models/task-settings.js';
import type { EmbeddingLoss } from './task-objectives.js';

const embeddingSchema = z.strictObject({
  /** The mean of all tokens' states, or the first token's. `mean` by default. */
  pooling: z.enum(['mean', 'first']).optional(),
  /** Whether vectors are scaled to length 1. True by default. */
  normalize: z.boolean().optional(),
  /**
   * `multipleNegatives`: each text is to be more similar to its own pair than to the other pairs of the batch. `cosine`:
   * the cosine of text and pair is to be their score. By default `cosine` if the rows have scores.
   */
  loss: z.enum(['multipleNegatives', 'cosine']).optional(),
  /** Factor on the cosines of `multipleNegatives`. */
  scale: z.number('expected a factor').positive('expected a factor above 0').default(20),
  /** The scores that mean cosine 0 and 1 to `cosine`; the lowest and highest of the training rows by default. */
  scoreRange: z
    .tuple([z.number(), z.number()])
    .refine(([low, high]) => low < high, 'expected the lower score first')
    .optional(),
  /** Of rows with scores, those from this one on are similar enough for `multipleNegatives`; the others are left out. */
  positiveFrom: z.number('expected a score').optional(),
});

/** Keys of every step that trains. What is not given stays as the checkpoint has it, if it has the same task. */
export const taskShape = {
  /**
   * What becomes of texts with more than `maxLength` tokens: the rest is cut off, or they are read in windows whose
   * results are merged. Kept with the model, so that prediction does the same. `truncate` by default.
   */
  longTexts: longTexts.optional(),
  /** Tokens that neighboring windows share; a quarter of `maxLength` by default. */
  stride: z.int('expected a whole number of tokens').min(0, 'expected at least 0 tokens').optional(),
  /** Token classification: pieces of a word that carry its tag. `first` by default; predictions are read there. */
  labelPieces: labelPieces.optional(),
  /** Several labels: the probability from which a label is given, or `tune` for the best of each label on dev. */
  threshold: z
    .union([z.literal('tune'), z.number().min(0).max(1)], 'expected a probability from 0 to 1, or "tune"')
    .optional(),
  embedding: embeddingSchema.optional(),
};

/** Checked. */
export type TaskOptions = { [K in keyof typeof taskShape]?: z.output<(typeof taskShape)[K]> };

/** The options of the task among those of a step. */
export function taskOptionsOf(options: Partial<TaskOptions>): Partial<TaskOptions> {
  const { longTexts, stride, labelPieces, threshold, embedding } = options;
  return { longTexts, stride, labelPieces, threshold, embedding };
}

/** What the options come to for a dataset and a checkpoint. */
export interface ResolvedTask {
  head: TaskHead;
  longTexts: LongTexts;
  stride: number;
  labelPieces: LabelPieces;
  /** To keep with the model: what differs from the defaults. */
  settings: TaskSettings;
  /** The rows to train on. */
  train: Split;
  embedding: EmbeddingLoss;
}

const optionTasks: Partial<Record<keyof TaskOptions, readonly Task[]>> = {
  labelPieces: ['token-classification'],
  threshold: ['multi-label-classification'],
  embedding: ['embedding'],
  longTexts: ['text-classification', 'multi-label-classification', 'regression', 'token-classification'],
  stride: ['text-classification', 'multi-label-classification', 'regression', 'token-classification'],
};

/**
 * Fills in what the options leave open.
 * @param maxLength tokens of an example.
 * @throws WhittleError BAD_OPTION for an option of another task, a stride without windows, or windows of pairs; BAD_DATA for rows that
 *   the embedding's loss cannot use.
 */
export function resolveTask(
  options: Partial<TaskOptions>,
  data: Dataset,
  checkpoint: Pick<Checkpoint, 'head' | 'settings'>,
  maxLength: number,
): ResolvedTask {
  for (const [name, found] of Object.entries(options)) {
    const its = optionTasks[name as keyof TaskOptions];
    if (found !== undefined && its && !its.includes(data.task))
      throw new WhittleError('BAD_OPTION', `${name}: expected none for ${data.task}; it is for ${its.join(', ')}`);
  }
  const sameTask = checkpoint.head?.task === data.task;
  const kept: TaskSettings = sameTask ? checkpoint.settings : {};
  const longTexts = options.longTexts ?? kept.longTexts ?? 'truncate';
  const inWindows = longTexts === 'windows';
  if (options.stride !== undefined && !inWindows)
    throw new WhittleError('BAD_OPTION', 'stride: expected "longTexts: windows" beside it but found none');
  if (options.longTexts === 'windows' && arePairs(data.train))
    throw new WhittleError(
      'BAD_OPTION',
      'longTexts: expected "truncate" for pairs of texts, which are cut to maxLength, but found "windows"',
    );
  const keptStride = kept.maxLength === maxLength ? kept.stride : undefined;
  const stride = options.stride ?? keptStride ?? defaultStride(maxLength);
  const labelPieces = options.labelPieces ?? kept.labelPieces ?? 'first';
  const threshold = options.threshold ?? kept.threshold;
  return {
    head: headFor(checkpoint.head, data, options.embedding),
    ...{ longTexts, stride, labelPieces },
    settings: {
      ...(inWindows && { longTexts, maxLength, stride }),
      ...(labelPieces !== 'first' && { labelPieces }),
      ...(threshold !== undefined && { threshold }),
    },
    ...resolveEmbedding(options.embedding, data),
  };
}

/** True if every row is a pair of texts; not known of streamed rows. */
function arePairs({ rows }: Split): boolean {
  return rows.length > 0 && rows.every((row) => 'text' in row && row.textPair !== undefined);
}

/** The checkpoint's own head if it has the same task and set of labels, else a new one. */
function headFor(
  existing: TaskHead | undefined,
  { task, labels }: Dataset,
  embedding: TaskOptions['embedding'],
): TaskHead {
  const own = existing?.task === task ? existing : undefined;
  if (task === 'embedding') {
    const { pooling = own?.pooling?.of, normalize = own?.pooling?.normalize } = embedding ?? {};
    return {
      ...{ task, labels: [] },
      pooling: { of: pooling ?? defaultPooling.of, normalize: normalize ?? defaultPooling.normalize },
    };
  }
  const same =
    own &&
    (task === 'regression' ||
      (own.labels.length === labels.length && labels.every((label) => own.labels.includes(label))));
  return same ? own : { task, labels: [...labels] };
}

function resolveEmbedding(
  options: TaskOptions['embedding'],
  { task, train }: Dataset,
): Pick<ResolvedTask, 'train' | 'embedding'> {
  const plain: EmbeddingLoss = { loss: 'multipleNegatives', scale: options?.scale ?? 20, scoreRange: [0, 1] };
  if (task !== 'embedding') return { train, embedding: plain };
  const rows = train.rows as ScoredRow[];
  const unscored = rows.findIndex(({ label }) => label === undefined);
  const loss = options?.loss ?? (unscored < 0 ? 'cosine' : 'multipleNegatives');
  if (loss === 'multipleNegatives')
    return { train: similarPairs(train, options?.positiveFrom), embedding: { ...plain, loss } };
  if (options?.positiveFrom !== undefined)
    throw new WhittleError('BAD_OPTION', 'embedding.positiveFrom: expected "loss: multipleNegatives" beside it');
  if (unscored >= 0)
    throw new WhittleError(
      'BAD_DATA',
      `${train.file}:${train.lines[unscored]}: expected a score in "label", which the loss "cosine" learns, but found none`,
    );
  const range = options?.scoreRange ?? scoreRangeOf(rows);
  if (range[0] === range[1])
    throw new WhittleError(
      'BAD_DATA',
      `${train.file}: expected different scores but all are ${range[0]}; "embedding.scoreRange" says what scores mean`,
    );
  return { train, embedding: { ...plain, loss, scoreRange: range } };
}

function scoreRangeOf(rows: readonly ScoredRow[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const { label } of rows) [low, high] = [Math.min(low, label!), Math.max(high, label!)];
  return [low, high];
}

/** The rows whose texts are similar: all, if they have no scores. */
function similarPairs(train: Split, positiveFrom: number | undefined): Split {
  const rows = train.rows as ScoredRow[];
  if (positiveFrom === undefined) {
    if (rows.every(({ label }) => label === undefined)) return train;
    throw new WhittleError(
      'BAD_OPTION',
      'embedding.positiveFrom: expected the score from which texts are similar, since the rows have scores, but found none',
    );
  }
  const chosen = rows.flatMap(({ label }, row) => (label === undefined || label >= positiveFrom ? [row] : []));
  if (chosen.length < 2)
    throw new WhittleError(
      'BAD_DATA',
      `${train.file}: expected at least two rows with a score from ${positiveFrom} on but found ${chosen.length}`,
    );
  return {
    ...train,
    rows: chosen.map((row) => train.rows[row]!),
    lines: chosen.map((row) => train.lines[row]!),
  };
}
