/** The recipe's `data`, checked. */
import { z } from 'zod';
import { tasks } from './dataset.js';
import { dataFormats } from './formats.js';
import { columnsRule, separatorRule } from './read-rows.js';
import { preprocessingSchema } from './preprocess/options.js';

const share = z.number('Expected a share of the rows between 0 and 1').min(0).max(1);
const count = z.number().int().positive();
const name = z.string().min(1);

/** A path, a glob, or several of them. */
const files = z.union([name, z.array(name).min(1, 'Expected at least one file')], 'Expected a file or a list of files');

const splitSchema = z
  .strictObject({
    /** Shares; where one is given, those that are not are 0. Default 0.8, 0.1, 0.1. */
    train: share.gt(0).optional(),
    dev: share.optional(),
    test: share.optional(),
    /** Whether every split gets its share of every label. By default for text classification and entities. */
    stratified: z.boolean().optional(),
    /** A column whose equal values stay in one split: `user`. */
    groupBy: name.optional(),
  })
  .refine((shares) => {
    const { train, dev, test } = splitShares(shares);
    return Math.abs(train + dev + test - 1) < 1e-6;
  }, 'Expected shares whose sum is 1');

/** The shares that a `split` means. */
export function splitShares({
  train,
  dev,
  test,
}: {
  train?: number | undefined;
  dev?: number | undefined;
  test?: number | undefined;
}) {
  if (train === undefined && dev === undefined && test === undefined) return { train: 0.8, dev: 0.1, test: 0.1 };
  return { train: train ?? 0, dev: dev ?? 0, test: test ?? 0 };
}

/** The recipe's `data`. */
export const datasetSchema = z
  .strictObject({
    /** A folder with train, dev and test files, or files that are split. */
    path: files.optional(),
    /** Files of single splits; they take the place of the folder's. */
    train: files.optional(),
    dev: files.optional(),
    test: files.optional(),
    /** Told by the first row if absent. */
    task: z.enum(tasks).optional(),
    /** How what has no file of its own is taken out of train. */
    split: splitSchema.default({}),
    /** Of the split and of `limit`. */
    seed: z.number().int().default(13),
    /** At most so many rows of each split, chosen by label. */
    limit: z
      .union([count, z.strictObject({ train: count.optional(), dev: count.optional(), test: count.optional() })])
      .optional(),
    /**
     * For train files larger than memory: their rows are read once to be checked, once to be tokenized, and never held;
     * token ids go to a temporary file. Splits that have no file are dealt out by a hash of the text, or of `groupBy`.
     */
    stream: z.boolean().default(false),
    /** The classes, or the types of entities, in the order that the model has them. By default those of train, sorted. */
    labels: z.array(name).min(1).optional(),
    /**
     * What is done to every text before it is tokenized, in this order. It is kept with the model, so that prediction
     * repeats it. By default what the model was trained with before.
     */
    preprocessing: preprocessingSchema.optional(),
    format: z.enum(dataFormats).optional(),
    /** Names of the columns: `{ text: message, label: intent }`. */
    columns: columnsRule.optional(),
    /** Short for `columns: { text }` and so on. */
    textColumn: name.optional(),
    textPairColumn: name.optional(),
    labelColumn: name.optional(),
    /** Between the cells of CSV files. */
    separator: separatorRule.optional(),
    /** How entity tags are written; see `readRows`. */
    scheme: z.enum(['IOB1', 'IOB2']).optional(),
  })
  .refine(
    ({ path, train }) => path !== undefined || train !== undefined,
    'Expected "path", a folder or file, or "train", a file, but found neither',
  )
  .refine(
    ({ stream, limit }) => !stream || (typeof limit !== 'number' && limit?.train === undefined),
    'Expected no "limit" of train rows beside "stream: true"',
  )
  .refine(
    ({ stream, split }) => !stream || split.stratified !== true,
    'Expected no "stratified: true" beside "stream: true", which deals rows out by a hash',
  )
  .refine(
    ({ stream, task }) => !stream || task !== 'embedding',
    'Expected no "stream: true" for the task embedding, whose pairs are chosen in memory',
  )
  .refine(({ labels }) => !labels || new Set(labels).size === labels.length, 'Expected labels that differ');

/** The `data` of a recipe as a user writes it. */
export type DatasetOptions = z.input<typeof datasetSchema>;
export type CheckedDatasetOptions = z.output<typeof datasetSchema>;
