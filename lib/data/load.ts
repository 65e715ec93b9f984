/** From a recipe's `data` to a dataset: which files, which split, which labels. */
import { statSync } from 'node:fs';
import { WhittleError } from '../../bindings/errors.js';
import { checkOptions, didYouMean } from '../options.js';
import { tagLabels } from './bio.js';
import {
  datasetSchema,
  splitShares,
  type CheckedDatasetOptions as CheckedOptions,
  type DatasetOptions,
} from './dataset-options.js';
import { placeOf, type Dataset, type Row, type Split, type Task } from './dataset.js';
import { describeFiles, filesNamed, findFiles } from './files.js';
import { dataExtensions, formatOf } from './formats.js';
import { readLines } from './lines.js';
import { hasParquetColumn } from './parquet.js';
import { Preprocessing } from './preprocess/preprocessing.js';
import { readRows, type ReadOptions } from './read-rows.js';
import { defaultColumns, describeValue } from './rows.js';
import { labelsOf, sampleRows, splitRows, stratumOf, textKey } from './split.js';
import { streamSplits, type SplitName } from './streamed-rows.js';

export { datasetSchema, type DatasetOptions } from './dataset-options.js';

const splitNames = ['train', 'dev', 'test'] as const;

/**
 * Reads and checks a labelled dataset.
 *
 * `path` is a folder with `train`, `dev` (or `validation`, `valid`, `val`) and `test` files (JSONL, CSV, TSV, CoNLL,
 * Parquet; shards as `train-00000-of-00004.parquet` too), or a file, a glob or a list of them; `train`, `dev` and `test`
 * name the files of a split. Splits that have no file are taken out of train by `split`: 80/10/10, seeded, stratified by
 * label, by group if `groupBy` names a column; equal texts are kept on one side. Labels are those of the train split,
 * sorted, or `labels`; for entities `O`, then `B-X`, `I-X` by type.
 *
 * @throws WhittleError `BAD_DATA` that names file and line: a row that cannot be read, a label outside `labels`, a dev or
 * test label that train lacks, a split without rows; `BAD_OPTION` for options that are none.
 * @example
 * const data = await loadDataset({ path: 'examples/quickstart/data', limit: { train: 1000 } });
 * console.log(data.labels.length, data.train.rows.length);
 */
export async function loadDataset(options: DatasetOptions): Promise<Dataset> {
  const checked = checkOptions(datasetSchema, options, 'data');
  const files = locateSplits(checked);
  const task = checked.task ?? (await guessTask(files.train[0]!, checked));
  const carved = splitNames.filter((name) => files[name] === undefined);
  if (checked.stream) return loadStreamed(files, task, checked);
  const groups: unknown[] = [];
  const splits = { train: await readSplit('train', files.train, task, checked, groups) } as Record<SplitName, Split>;
  for (const name of ['dev', 'test'] as const) {
    if (files[name] !== undefined) splits[name] = await readSplit(name, files[name], task, checked);
  }
  if (carved.length > 0) carveMissing(splits, task, checked, groups);
  for (const name of splitNames) splits[name] = limitSplit(splits[name], checked);
  const labels = collectLabels(splits, task, checked.labels);
  return { task, labels, ...splits, ...(await preprocessingFor(task, checked)) };
}

/** Train stays in its files; what is dealt out of them, or has files of its own, is in memory. */
async function loadStreamed(files: SplitFiles, task: Task, options: CheckedOptions): Promise<Dataset> {
  const shares = splitShares(options.split);
  const parts = splitNames.filter((name) => name === 'train' || files[name] === undefined);
  const whole = parts.reduce((sum, name) => sum + shares[name], 0);
  const limits = typeof options.limit === 'object' ? options.limit : {};
  const { splits, labels: found } = await streamSplits({
    ...{ files: files.train, task, read: readOptions(options), seed: options.seed, limits },
    groupBy: options.split.groupBy,
    checkRow: options.labels && givenLabelsCheck(options.labels, task),
    shares: Object.fromEntries(parts.map((name) => [name, shares[name] / whole])),
  });
  for (const name of ['dev', 'test'] as const)
    splits[name] ??= limitSplit(await readSplit(name, files[name]!, task, options), options);
  const all = splits as Record<SplitName, Split>;
  const labels = collectLabels(all, task, options.labels, found);
  return { task, labels, ...all, ...(await preprocessingFor(task, options)) };
}

async function preprocessingFor(task: Task, options: CheckedOptions): Promise<Pick<Dataset, 'preprocessing'>> {
  if (!options.preprocessing) return {};
  const preprocessing = await Preprocessing.create(options.preprocessing);
  preprocessing.expectTask(task);
  return { preprocessing };
}

const otherNames: Record<SplitName, string[]> = {
  train: ['train'],
  dev: ['dev', 'validation', 'valid', 'val'],
  test: ['test'],
};

/** The files of a split in a folder; none if the folder has none for it. */
export function splitFiles(folder: string, name: SplitName): string[] {
  return filesNamed(folder, otherNames[name], dataExtensions);
}

interface SplitFiles {
  train: string[];
  dev?: string[];
  test?: string[];
}

function locateSplits({ path, format, ...named }: CheckedOptions): SplitFiles {
  const files: Partial<SplitFiles> = {};
  if (path !== undefined) {
    const isFolder = typeof path === 'string' && statSync(path, { throwIfNoEntry: false })?.isDirectory();
    if (isFolder) {
      for (const name of splitNames) {
        const found = splitFiles(path, name);
        if (found.length > 0) files[name] = found;
      }
    } else if (named.train !== undefined) {
      throw new WhittleError('BAD_OPTION', 'data: expected "path" to be a folder beside "train" but found a file');
    } else {
      files.train = findFiles(path, 'a data folder or file');
    }
  }
  for (const name of splitNames) if (named[name] !== undefined) files[name] = findFiles(named[name]);
  const { train, ...others } = files;
  if (train === undefined) {
    throw new WhittleError(
      'BAD_DATA',
      `${String(path)}: expected a file called train${dataExtensions.slice(0, -1).join(', train')} or train${dataExtensions.at(-1)} but found none in the folder`,
    );
  }
  if (format === undefined) for (const file of Object.values(files).flat()) formatOf(file, ', or the option "format",');
  return { train, ...others };
}

function readOptions(options: CheckedOptions): ReadOptions {
  const { format, columns, textColumn, textPairColumn, labelColumn, separator, scheme } = options;
  return { format, columns, textColumn, textPairColumn, labelColumn, separator, scheme, labelled: true };
}

/** Entities if the first row has tokens, else texts. */
async function guessTask(file: string, options: CheckedOptions): Promise<Task> {
  const format = options.format ?? formatOf(file);
  const tokens = options.columns?.tokens ?? defaultColumns('token-classification').tokens;
  const of = (hasTokens: boolean): Task => (hasTokens ? 'token-classification' : 'text-classification');
  if (format === 'parquet') return of(await hasParquetColumn(file, tokens));
  if (format !== 'jsonl') return of(format === 'conll');
  for await (const { text } of readLines(file)) {
    if (text.trim() !== '')
      return of(new RegExp(`${JSON.stringify(tokens).replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}\\s*:`).test(text));
  }
  return 'text-classification';
}

/** @param groups takes each row's value of the column that `split.groupBy` names. */
async function readSplit(
  name: SplitName,
  files: readonly string[],
  task: Task,
  options: CheckedOptions,
  groups?: unknown[],
): Promise<Split> {
  const { groupBy } = options.split;
  const split: Split = { name, file: describeFiles(files), rows: [], lines: [] };
  if (files.length > 1) split.files = { names: files, of: [] };
  for (const [index, file] of files.entries()) {
    for await (const { row, line, fields } of readRows(file, task, readOptions(options))) {
      split.rows.push(row);
      split.lines.push(line);
      split.files?.of.push(index);
      if (groups && groupBy !== undefined) groups.push(groupOf(fields, groupBy, `${file}:${line}`));
    }
  }
  if (split.rows.length === 0)
    throw new WhittleError('BAD_DATA', `${split.file}: expected at least one row but found none`);
  return split;
}

function groupOf(fields: Record<string, unknown>, groupBy: string, place: string): unknown {
  const group = fields[groupBy];
  if (group !== undefined) return typeof group === 'object' ? JSON.stringify(group) : group;
  throw new WhittleError('BAD_DATA', `${place}: expected "${groupBy}", which the split goes by, but found none`);
}

/** Takes the splits that have no file of their own out of train. */
function carveMissing(
  splits: Record<SplitName, Split>,
  task: Task,
  { split, seed }: CheckedOptions,
  groups: readonly unknown[],
): void {
  const shares = splitShares(split);
  const parts = splitNames.filter((name) => name === 'train' || splits[name] === undefined);
  const whole = parts.reduce((sum, name) => sum + shares[name], 0);
  const source = splits.train;
  const rows = splitRows(
    source.rows,
    parts.map((name) => shares[name] / whole),
    seed,
    {
      stratified: split.stratified ?? task !== 'multi-label-classification',
      ...(split.groupBy !== undefined && { groups }),
    },
  );
  parts.forEach((name, part) => {
    splits[name] = takeRows({ ...source, name }, rows[part]!);
    if (shares[name] > 0 && splits[name].rows.length === 0) {
      const different = new Set(source.rows.map(textKey)).size;
      const few = different < source.rows.length ? ` with ${different} different texts` : '';
      const what = `${source.rows.length}${split.groupBy === undefined ? few : ' in too few groups'}`;
      throw new WhittleError(
        'BAD_DATA',
        `${source.file}: expected rows enough for ${parts.join(', ')} but found ${what}, which leaves none for ${name}`,
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
    ...(split.files && { files: { ...split.files, of: indices.map((index) => split.files!.of[index]!) } }),
  };
}

/** The labels given, or those of train, sorted; all of the other splits must be among them. */
function collectLabels(
  splits: Record<SplitName, Split>,
  task: Task,
  given: readonly string[] | undefined,
  ofTrain: Iterable<string> = splits.train.rows.flatMap(labelsOf),
): string[] {
  if (task === 'regression') return ['score'];
  if (task === 'embedding') return [];
  const known = given ?? [...new Set(ofTrain)].sort();
  const check = given
    ? givenLabelsCheck(given, task)
    : labelsCheck(
        known,
        `label sets differ between splits: expected one of the ${known.length} ${labelWord(task)}s of ${splits.train.file} (train)`,
      );
  for (const split of given ? [splits.train, splits.dev, splits.test] : [splits.dev, splits.test])
    split.rows.forEach((row, index) => check(row, placeOf(split, index), split.name));
  return labelNames(known, task, splits.train.file);
}

type LabelsCheck = (row: Row, place: string, split?: string) => void;

function labelWord(task: Task): string {
  return task === 'token-classification' ? 'entity type' : 'label';
}

function givenLabelsCheck(given: readonly string[], task: Task): LabelsCheck {
  return labelsCheck(given, `expected one of the ${given.length} ${labelWord(task)}s of "labels"`);
}

/** Refuses rows with other labels than the known ones. */
function labelsCheck(known: readonly string[], expected: string): LabelsCheck {
  const checked = new Set(known);
  return (row, place, split = 'train') => {
    const unknown = labelsOf(row).find((label) => !checked.has(label));
    if (unknown === undefined) return;
    throw new WhittleError(
      'BAD_DATA',
      `${place}: ${expected} but found ${describeValue(unknown)} (${split})${didYouMean(unknown, known)}`,
    );
  };
}

function labelNames(known: readonly string[], task: Task, file: string): string[] {
  if (task === 'token-classification') return tagLabels(known);
  if (known.length < (task === 'multi-label-classification' ? 1 : 2)) {
    const expected = task === 'multi-label-classification' ? 'one label' : 'two different labels';
    const found = known.length === 0 ? 'none' : `only ${describeValue(known[0])}`;
    throw new WhittleError('BAD_DATA', `${file}: expected at least ${expected} but found ${found}`);
  }
  return [...known];
}
