/** Train rows that are never all in memory: they are read from their files each time they are gone through. */
import { createHash } from 'node:crypto';
import { WhittleError } from '../../bindings/errors.js';
import type { Row, Split, Task } from './dataset.js';
import { describeFiles } from './files.js';
import { seededRandom } from './random.js';
import { readRows, type ReadOptions } from './read-rows.js';
import { labelsOf, textKey } from './split.js';

export interface PlacedRow {
  row: Row;
  /** `train.jsonl:17` */
  place: string;
}

/** The rows of a split whose `rows` are not in memory. */
export interface StreamedRows {
  count: number;
  /** Of all rows, in their order. */
  hash: string;
  /** The same rows in the same order each time, as long as the files stay as they are. */
  read: () => AsyncGenerator<PlacedRow, void, undefined>;
}

export type SplitName = 'train' | 'dev' | 'test';

export interface StreamOptions {
  files: readonly string[];
  task: Task;
  read: ReadOptions;
  /** Of the splits that are taken out of these files, train among them; they sum to 1. */
  shares: Partial<Record<SplitName, number>>;
  seed: number;
  /** A column whose equal values stay in one split. */
  groupBy?: string | undefined;
  /** Checks a train row as it is counted, so that a mistake is told by the first reading. */
  checkRow?: ((row: Row, place: string) => void) | undefined;
  /** At most so many rows of dev and test, the first ones. */
  limits: { [name in SplitName]?: number | undefined };
}

/**
 * Goes through the files once: every row is checked, and dealt out by a hash of its text (but for case and white space)
 * or of its group, so that equal ones stay on one side without anything being remembered. Rows of dev and test are kept.
 *
 * @returns the splits in `shares`, and the labels (or entity types) of the train rows.
 * @throws WhittleError BAD_DATA as `readRows`, and for files without a row for train.
 */
export async function streamSplits(
  options: StreamOptions,
): Promise<{ splits: Partial<Record<SplitName, Split>>; labels: Set<string> }> {
  const { files, shares, limits } = options;
  const file = describeFiles(files);
  const splits: Partial<Record<SplitName, Split>> = {};
  for (const name of Object.keys(shares) as SplitName[])
    splits[name] = { name, file, rows: [], lines: [], files: { names: files, of: [] } };
  const labels = new Set<string>();
  const hash = createHash('sha256');
  let count = 0;
  for await (const { row, line, file: index, part } of dealtRows(options)) {
    if (part === 'train') {
      options.checkRow?.(row, `${files[index]!}:${line}`);
      for (const label of labelsOf(row)) labels.add(label);
      hash.update(JSON.stringify(row));
      count++;
      continue;
    }
    const split = splits[part]!;
    if (split.rows.length >= (limits[part] ?? Infinity)) continue;
    split.rows.push(row);
    split.lines.push(line);
    split.files!.of.push(index);
  }
  if (count === 0) throw new WhittleError('BAD_DATA', `${file}: expected at least one row to train on but found none`);
  splits.train!.source = { count, hash: hash.digest('hex'), read: () => trainRows(options) };
  return { splits, labels };
}

async function* trainRows(options: StreamOptions): AsyncGenerator<PlacedRow, void, undefined> {
  for await (const { row, line, file, part } of dealtRows(options))
    if (part === 'train') yield { row, place: `${options.files[file]!}:${line}` };
}

async function* dealtRows({ files, task, read, shares, seed, groupBy }: StreamOptions) {
  const parts = Object.entries(shares) as [SplitName, number][];
  for (const [file, name] of files.entries())
    for await (const { row, line, fields } of readRows(name, task, read)) {
      const key = groupBy === undefined ? textKey(row) : fields[groupBy];
      if (key === undefined)
        throw new WhittleError(
          'BAD_DATA',
          `${name}:${line}: expected "${groupBy}", which the split goes by, but found none`,
        );
      yield { row, line, file, part: parts.length === 1 ? parts[0]![0] : partOf(JSON.stringify(key), parts, seed) };
    }
}

function partOf(key: string, parts: readonly [SplitName, number][], seed: number): SplitName {
  const digest = createHash('sha1').update(`${seed}\u0000${key}`).digest();
  let rest = digest.readUIntBE(0, 6) / 2 ** 48;
  for (const [name, share] of parts) {
    if (rest < share) return name;
    rest -= share;
  }
  return 'train';
}

/** How many rows a split has, in memory or not. */
export function rowCount({ rows, source }: Split): number {
  return source ? source.count : rows.length;
}

/** @throws WhittleError BAD_OPTION if the rows are not in memory, which `what` needs. */
export function expectInMemory({ source }: Split, what: string): void {
  if (source)
    throw new WhittleError('BAD_OPTION', `${what}: expected rows in memory but found "stream: true" in the data`);
}

/** `count` rows drawn by the seed (reservoir sampling, Vitter 1985, algorithm R). */
export async function sampleStream(source: StreamedRows, count: number, seed: number): Promise<Row[]> {
  const random = seededRandom(seed);
  const sample: Row[] = [];
  let seen = 0;
  for await (const { row } of source.read()) {
    const place = seen < count ? seen : Math.floor(random() * (seen + 1));
    if (place < count) sample[place] = row;
    seen++;
  }
  return sample;
}
