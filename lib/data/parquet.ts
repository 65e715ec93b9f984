/** Parquet files, a row group at a time: hyparquet reads them, node:zlib and fzstd decompress. */
import { stat } from 'node:fs/promises';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { FileMetaData } from 'hyparquet';
import { WhittleError } from '../../bindings/errors.js';
import type { Records } from './records.js';

/** Rows that are made into objects at a time. */
const rowsAtOnce = 4096;

export interface ParquetOptions {
  /** Columns without which there is nothing to read. */
  needed: readonly string[];
  onHeader?: ((columns: string[]) => void) | undefined;
}

/**
 * The rows of a file. Integers that the Hugging Face `datasets` library wrote as classes become the classes' names.
 * @throws WhittleError `BAD_DATA` for a file that is none, is damaged or lacks a needed column.
 */
export async function* readParquet(file: string, { needed, onHeader }: ParquetOptions): Records {
  const { asyncBufferFromFile, parquetReadObjects } = await import('hyparquet');
  const metadata = await readMetadata(file);
  const columns = columnsOf(metadata);
  for (const one of needed) {
    if (columns.includes(one)) continue;
    throw new WhittleError(
      'BAD_DATA',
      `${file}: expected a column "${one}" but found ${columns.map((name) => `"${name}"`).join(', ')}`,
    );
  }
  onHeader?.(columns);
  const { decompress } = await import('fzstd');
  const classes = classNames(metadata);
  const source = await asyncBufferFromFile(file);
  const compressors = {
    GZIP: (input: Uint8Array) => gunzipSync(input),
    BROTLI: (input: Uint8Array) => brotliDecompressSync(input),
    ZSTD: (input: Uint8Array) => decompress(input),
  };
  let groupStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const groupEnd = groupStart + Number(num_rows);
    for (let rowStart = groupStart; rowStart < groupEnd; rowStart += rowsAtOnce) {
      const rowEnd = Math.min(groupEnd, rowStart + rowsAtOnce);
      const options = { file: source, metadata, rowStart, rowEnd, compressors, useOffsetIndex: true };
      const rows = await parquetReadObjects(options).catch((error: unknown) => {
        throw damaged(file, error, `rows ${rowStart + 1} to ${rowEnd}: `);
      });
      for (const [index, row] of rows.entries()) {
        yield { line: rowStart + index + 1, read: () => plainRow(row, classes) };
      }
    }
    groupStart = groupEnd;
  }
}

/** How many rows a file has, without reading them. */
export async function countParquetRows(file: string): Promise<number> {
  return Number((await readMetadata(file)).num_rows);
}

/** Whether a file has a column of this name. */
export async function hasParquetColumn(file: string, name: string): Promise<boolean> {
  return columnsOf(await readMetadata(file)).includes(name);
}

/** Names of the columns, not of what is nested in them. */
function columnsOf({ schema }: FileMetaData): string[] {
  const names: string[] = [];
  const skip = (at: number): number => {
    let next = at + 1;
    for (let child = 0; child < (schema[at]!.num_children ?? 0); child++) next = skip(next);
    return next;
  };
  for (let at = 1; at < schema.length; at = skip(at)) names.push(schema[at]!.name);
  return names;
}

async function readMetadata(file: string): Promise<FileMetaData> {
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) {
    throw new WhittleError(
      'BAD_DATA',
      `${file}: expected a data file but ${found ? 'found a folder' : 'there is none'}`,
    );
  }
  if (found.size === 0) throw new WhittleError('BAD_DATA', `${file}: expected a Parquet file but found an empty one`);
  const { asyncBufferFromFile, parquetMetadataAsync } = await import('hyparquet');
  try {
    return await parquetMetadataAsync(await asyncBufferFromFile(file));
  } catch (error) {
    throw damaged(file, error);
  }
}

function damaged(file: string, error: unknown, rows = ''): WhittleError {
  const [expected, found] = complaint(error);
  return new WhittleError('BAD_DATA', `${file}: ${rows}expected ${expected} but found ${found}`, { cause: error });
}

/** What the library's error means: expected, found. */
function complaint(error: unknown): [string, string] {
  const { message } = error as Error;
  const codec = /unsupported compression codec: (\w+)/.exec(message)?.[1];
  if (codec) return ['pages compressed with snappy, gzip, brotli, zstd or not at all', codec];
  if (message.includes('footer != PAR1'))
    return ['a Parquet file', 'one that is cut off, or of another kind (no PAR1 at its end)'];
  // What breaks inside the library tells its own state, not the file's.
  const isBroken = error instanceof TypeError || error instanceof RangeError;
  return ['a Parquet file', isBroken ? 'damaged data' : `damaged data: ${message.replace(/^parquet (file )?/, '')}`];
}

/** Names of classes by column, as `datasets` notes them in the file. */
function classNames(metadata: FileMetaData): ReadonlyMap<string, string[]> {
  const result = new Map<string, string[]>();
  const text = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  if (text === undefined) return result;
  let features: Record<string, Feature>;
  try {
    features = (JSON.parse(text) as { info?: { features?: Record<string, Feature> } }).info?.features ?? {};
  } catch {
    return result; // of another kind
  }
  for (const [column, feature] of Object.entries(features)) {
    const names = feature.names ?? feature.feature?.names;
    if (names) result.set(column, names);
  }
  return result;
}

interface Feature {
  names?: string[];
  /** Of the elements of a list. */
  feature?: Feature;
}

/** A row whose values JSON has as well. */
function plainRow(row: Record<string, unknown>, classes: ReadonlyMap<string, string[]>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([column, value]) => [column, plainValue(value, classes.get(column))]),
  );
}

function plainValue(value: unknown, names: readonly string[] | undefined): unknown {
  if (Array.isArray(value)) return value.map((one) => plainValue(one, names));
  if (typeof value === 'bigint' || typeof value === 'number') {
    const number = Number(value);
    return names?.[number] ?? (Number.isSafeInteger(number) || typeof value === 'number' ? number : String(value));
  }
  if (value === null) return undefined;
  if (value instanceof Date) return value.toISOString();
  return value;
}
