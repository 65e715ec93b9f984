/** From a recipe's `data` to a dataset: which files, which split, which labels. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { checkOptions, didYouMean } from '../options.js';
import { parseTag, tagLabels } from './bio.js';
import { tasks, type Dataset, type Row, type Split, type Task } from './dataset.js';
import { readLines } from './lines.js';
import { dataExtensions, dataFormats, formatOf } from './formats.js';
import { readRows, type ReadOptions } from './read-rows.js';
import { describeValue } from './rows.js';
import { sampleRows, splitRows, stratumOf } from './split.js';

const share = z.number('Expected a share of the rows between 0 and 1').min(0).max(1);
const count = z.number().int().positive();

const splitSchema = z
  .strictObject({ train: share.gt(0), dev: share, test: share })
  .refine(({ train, dev, test }) => Math.abs(train + dev + test - 1) < 1e-6, 'Expected shares whose sum is 1');

/** The recipe's `data`. */
export const datasetSchema = z
  .strictObject({
    /** A folder with train, dev and test files, or one file that is split. */
    path: z.string().min(1).optional(),
    /** Files named one by one; they take the place of the folder's. */
    train: z.string().min(1).optional(),
    dev: z.string().min(1).optional(),
    test: z.string().min(1).optional(),
    /** Told by the first row if absent. */
    task: z.enum(tasks).optional(),
    /** Shares of the rows; what has no file of its own is taken out of the train file by them. */
    split: splitSchema.default({ train: 0.8, dev: 0.1, test: 0.1 }),
    /** Of the split and of `limit`. */
    seed: z.number().int().default(13),
    /** At most so many rows of each split, chosen by label. */
    limit: z
      .union([count, z.strictObject({ train: count.optional(), dev: count.optional(), test: count.optional() })])
      .optional(),
    format: z.enum(dataFormats).optional(),
    textColumn: z.string().min(1).optional(),
    textPairColumn: z.string().min(1).optional(),
    labelColumn: z.string().min(1).optional(),
    /** How entity tags are written; see `readRows`. */
    scheme: z.enum(['IOB1', 'IOB2']).optional(),
  })
  .refine(
    ({ path, train }) => path !== undefined || train !== undefined,
    'Expected "path", a folder or file, or "train", a file, but found neither',
  );

export type DatasetOptions = z.input<typeof datasetSchema>;
type CheckedOptions = z.output<typeof datasetSchema>;

const splitNames = ['train', 'dev', 'test'] as const;
type SplitName = (typeof splitNames)[number];

/**
 * Reads and checks a labelled dataset.
 *
 * `path` is a folder with `train`, `dev` (or `validation`, `valid`, `val`) and `test` files (.jsonl, .csv, .tsv, .conll),
 * or a single file; `train`, `dev` and `test` name files one by one. Splits that have no file are taken out of the train
 * file by `split` (80/10/10): seeded, stratified by label, equal texts kept on one side. Labels are those of the train
 * split, sorted; for entities `O`, then `B-X`, `I-X` by type.
 *
 * @throws WhittleError `BAD_DATA` that names file and line: a row that cannot be read, a dev or test label that train
 * lacks, a split without rows; `BAD_OPTION` for options that are none.
 * @example
 * const data = await loadDataset({ path: 'data/banking77' });
 * console.log(data.labels.length, data.train.rows.length);
 */
export async function loadDataset(options: DatasetOptions): Promise<Dataset> {
  const checked = checkOptions(datasetSchema, options, 'data');
  const files = findFiles(checked);
  const task = checked.task ?? (await guessTask(files.train, checked));
  const splits = { train: await readSplit('train', files.train, task, checked) } as Record<SplitName, Split>;
  for (const name of ['dev', 'test'] as const) {
    if (files[name] !== undefined) splits[name] = await readSplit(name, files[name], task, checked);
  }
  carveMissing(splits, checked);
  for (const name of splitNames) splits[name] = limitSplit(splits[name], checked);
  const labels = collectLabels(splits, task);
  return { task, labels, ...splits };
}

const otherNames: Record<SplitName, string[]> = {
  train: ['train'],
  dev: ['dev', 'validation', 'valid', 'val'],
  test: ['test'],
};

function findFiles({ path, format, ...named }: CheckedOptions): { train: string; dev?: string; test?: string } {
  const files: Partial<Record<SplitName, string>> = {};
  if (path !== undefined) {
    if (!existsSync(path)) {
      throw new WhittleError('BAD_DATA', `${path}: expected a data folder or file but there is none`);
    }
    if (statSync(path).isDirectory()) {
      for (const name of splitNames) {
        const file = findInFolder(path, name);
        if (file !== undefined) files[name] = file;
      }
    } else if (named.train !== undefined) {
      throw new WhittleError('BAD_OPTION', 'data: expected "path" to be a folder beside "train" but found a file');
    } else {
      files.train = path;
    }
  }
  for (const name of splitNames) if (named[name] !== undefined) files[name] = named[name];
  const { train, ...others } = files;
  if (train === undefined) {
    throw new WhittleError(
      'BAD_DATA',
      `${path}: expected a file train${dataExtensions.join(', train')} but found none in the folder`,
    );
  }
  if (format === undefined) for (const file of Object.values(files)) formatOf(file, ', or the option "format",');
  return { train, ...others };
}

function findInFolder(folder: string, name: SplitName): string | undefined {
  return otherNames[name]
    .flatMap((stem) => dataExtensions.map((extension) => join(folder, stem + extension)))
    .find((file) => existsSync(file));
}

function readOptions({ format, textColumn, textPairColumn, labelColumn, scheme }: CheckedOptions): ReadOptions {
  return { format, textColumn, textPairColumn, labelColumn, scheme, labelled: true };
}

/** Entities if the first row has tokens, else texts. */
async function guessTask(file: string, options: CheckedOptions): Promise<Task> {
  const format = options.format ?? formatOf(file);
  if (format !== 'jsonl') return format === 'conll' ? 'token-classification' : 'text-classification';
  for await (const { text } of readLines(file)) {
    if (text.trim() !== '') return /"tokens"\s*:/.test(text) ? 'token-classification' : 'text-classification';
  }
  return 'text-classification';
}

async function readSplit(name: SplitName, file: string, task: Task, options: CheckedOptions): Promise<Split> {
  const split: Split = { name, file, rows: [], lines: [] };
  for await (const { row, line } of readRows(file, task, readOptions(options))) {
    split.rows.push(row);
    split.lines.push(line);
  }
  if (split.rows.length === 0) throw new WhittleError('BAD_DATA', `${file}: expected at least one row but found none`);
  return split;
}

/** Takes the splits that have no file of their own out of train. */
function carveMissing(splits: Record<SplitName, Split>, { split: shares, seed }: CheckedOptions): void {
  const parts = splitNames.filter((name) => name === 'train' || splits[name] === undefined);
  const whole = parts.reduce((sum, name) => sum + shares[name], 0);
  const source = splits.train;
  const rows = splitRows(
    source.rows,
    parts.map((name) => shares[name] / whole),
    seed,
  );
  parts.forEach((name, part) => {
    splits[name] = takeRows({ ...source, name }, rows[part]!);
    if (shares[name] > 0 && splits[name].rows.length === 0) {
      throw new WhittleError(
        'BAD_DATA',
        `${source.file}: expected rows enough for ${parts.join(', ')} but found ${source.rows.length}, which leaves none for ${name}`,
      );
    }
  });
}

function limitSplit(split: Split, { limit, seed }: CheckedOptions): Split {
  const most = typeof limit === 'number' ? limit : limit?.[split.name as SplitName];
  if (most === undefined || most >= split.rows.length) return split;
  const strata = new Set(split.rows.map(stratumOf)).size;
  if (split.name === 'train' && most < strata) {
    throw new WhittleError(
      'BAD_OPTION',
      `data: expected "limit" to leave a train row for each of the ${strata} labels but found ${most}`,
    );
  }
  return takeRows(split, sampleRows(split.rows, most, seed));
}

function takeRows(split: Split, indices: readonly number[]): Split {
  return {
    ...split,
    rows: indices.map((index) => split.rows[index]!),
    lines: indices.map((index) => split.lines[index]!),
  };
}

/** The labels of train, sorted; those of dev and test must be among them. */
function collectLabels(splits: Record<SplitName, Split>, task: Task): string[] {
  if (task === 'regression') return ['score'];
  if (task === 'embedding') return [];
  const known = new Set(splits.train.rows.flatMap(labelsOf));
  for (const { name, file, rows, lines } of [splits.dev, splits.test]) {
    rows.forEach((row, index) => {
      const unknown = labelsOf(row).find((label) => !known.has(label));
      if (unknown === undefined) return;
      const what = task === 'token-classification' ? 'entity type' : 'label';
      throw new WhittleError(
        'BAD_DATA',
        `${file}:${lines[index]}: label sets differ between splits: expected one of the ${known.size} ${what}s of ${splits.train.file} (train) but found ${describeValue(unknown)} (${name})${didYouMean(unknown, [...known])}`,
      );
    });
  }
  if (task === 'token-classification') return tagLabels(known);
  if (known.size < (task === 'multi-label-classification' ? 1 : 2)) {
    throw new WhittleError(
      'BAD_DATA',
      `${splits.train.file}: expected at least ${task === 'multi-label-classification' ? 'one label' : 'two different labels'} but found ${known.size === 0 ? 'none' : `only ${describeValue([...known][0])}`}`,
    );
  }
  return [...known].sort();
}

/** A row's label or labels, or the types of its entities. */
function labelsOf(row: Row): string[] {
  if ('labels' in row) return row.labels!;
  if ('text' in row) return 'label' in row && typeof row.label === 'string' ? [row.label] : [];
  return (row.tags ?? []).flatMap((tag) => parseTag(tag)?.type || []);
}
