/** Which formats data files have, told by their names. */
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';

export const dataFormats = ['jsonl', 'csv', 'tsv', 'conll', 'parquet'] as const;
export type DataFormat = (typeof dataFormats)[number];

const extensions: Record<string, DataFormat> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.conll': 'conll',
  '.bio': 'conll',
  '.iob': 'conll',
  '.iob2': 'conll',
  '.parquet': 'parquet',
};

/** Each text format may be gzipped: `train.jsonl.gz`. */
export const dataExtensions: readonly string[] = Object.keys(extensions);

/** `train.csv` for `train.csv.gz`. */
export function withoutGzip(file: string): string {
  return isGzip(file) ? file.slice(0, -'.gz'.length) : file;
}

export function isGzip(file: string): boolean {
  return extname(file).toLowerCase() === '.gz';
}

/**
 * The format that a file's name tells.
 * @param otherwise what else the caller takes, for the error: `, or the option "format"`.
 * @throws WhittleError `BAD_DATA` for another extension, or if there is no such file.
 */
export function formatOf(file: string, otherwise = ''): DataFormat {
  const extension = extname(withoutGzip(file));
  const format = extensions[extension.toLowerCase()];
  if (format !== undefined) return format;
  if (!existsSync(file)) throw new WhittleError('BAD_DATA', `${file}: expected a data file but there is none`);
  throw new WhittleError(
    'BAD_DATA',
    `${file}: expected a data file whose name ends in ${dataExtensions.join(', ')} or one of these and .gz${otherwise} but found "${extension}"`,
  );
}
