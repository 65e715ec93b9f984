/** Data files of several formats as a stream of checked rows. */
import { extname } from 'node:path';
import { Readable } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { WhittleError } from '../../bindings/errors.js';
import { parseTag } from './bio.js';
import type { Row, RowOf, Task } from './dataset.js';
import { readLines } from './lines.js';
import { badRow, checkRow, defaultColumns, type ColumnNames, type RowRules, type TagScheme } from './rows.js';

export type DataFormat = 'jsonl' | 'csv' | 'tsv' | 'conll';

const extensions: Record<string, DataFormat> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.csv': 'csv',
  '.tsv': 'tsv',
  '.conll': 'conll',
  '.bio': 'conll',
  '.iob': 'conll',
  '.iob2': 'conll',
};

export const dataExtensions: readonly string[] = Object.keys(extensions);

export interface ReadOptions {
  /** By the file's extension if absent. */
  format?: DataFormat | undefined;
  /** Whether every row must have its label or tags. Default false: rows to predict on. */
  labelled?: boolean | undefined;
  /** Columns of CSV and TSV, fields of JSONL. Defaults: `text`, `textPair`, `label` (multi-label rows: `labels`). */
  textColumn?: string | undefined;
  textPairColumn?: string | undefined;
  labelColumn?: string | undefined;
  /** How entity tags are written. Default IOB2 for JSONL; CoNLL files are read as IOB1, which IOB2 is a case of. */
  scheme?: TagScheme | undefined;
  /** Gets each bad row's error, and the row is left out. Without it the first bad row's error is thrown. */
  onBadRow?: ((error: WhittleError, line: number) => void) | undefined;
}

/** A row, the 1-based line that it starts on, and everything that the file holds for it, by column or key. */
export interface LocatedRow<R extends Row = Row> {
  row: R;
  line: number;
  fields: Record<string, unknown>;
}

/**
 * The rows of a data file, one by one, at flat memory whatever the file's size.
 *
 * - JSONL: `{"text", "textPair"?, "label"?}` or `{"tokens", "tags"?}` a line; blank lines are skipped.
 * - CSV, TSV: a header line, then a row a record (text classification only); other columns are ignored.
 * - CoNLL: a token a line, its tag last, columns separated by tabs or spaces; a blank line ends a sentence,
 *   `-DOCSTART-` lines are skipped, and IOB1 tags become IOB2. Without labels the tag column may be missing.
 *
 * @throws WhittleError `BAD_DATA` with `file:line: expected ... but found ...` for a bad row (unless `onBadRow` takes
 * it), a missing file or an unknown format; `IO` if reading fails.
 * @example
 * for await (const { row, line } of readRows('questions.csv', 'text-classification', { textColumn: 'message' })) {
 *   console.log(line, row.text);
 * }
 */
export function readRows<T extends Task>(
  file: string,
  task: T,
  options?: ReadOptions,
): AsyncGenerator<LocatedRow<RowOf<T>>, void, undefined>;
export async function* readRows(
  file: string,
  task: Task,
  options: ReadOptions = {},
): AsyncGenerator<LocatedRow, void, undefined> {
  const format = options.format ?? formatOf(file);
  const columns = defaultColumns(task);
  const rules: RowRules = {
    task,
    labelled: options.labelled ?? false,
    scheme: options.scheme ?? (format === 'conll' ? 'IOB1' : 'IOB2'),
    columns: {
      text: options.textColumn ?? columns.text,
      textPair: options.textPairColumn ?? columns.textPair,
      label: options.labelColumn ?? columns.label,
    },
    fromTable: format === 'csv' || format === 'tsv',
  };
  for await (const { read, line } of readRecords(file, format, rules)) {
    let row: Row;
    let fields: unknown;
    try {
      fields = read();
      row = checkRow(fields, rules, `${file}:${line}`);
    } catch (error) {
      if (!(error instanceof WhittleError) || options.onBadRow === undefined) throw error;
      options.onBadRow(error, line);
      continue;
    }
    yield { row, line, fields: fields as Record<string, unknown> };
  }
}

/** The format that a file's name tells. */
export function formatOf(file: string): DataFormat {
  const format = extensions[extname(file).toLowerCase()];
  if (format === undefined) {
    throw new WhittleError(
      'BAD_DATA',
      `${file}: expected a data file whose name ends in ${dataExtensions.join(', ')}, or the option "format", but found "${extname(file)}"`,
    );
  }
  return format;
}

/** What a file holds for one row, before it is checked. */
interface SourceRecord {
  line: number;
  /** @throws WhittleError `BAD_DATA` if there is no row to be had from the line. */
  read: () => unknown;
}

function readRecords(file: string, format: DataFormat, rules: RowRules): AsyncGenerator<SourceRecord, void, undefined> {
  if (format === 'jsonl') return readJsonl(file);
  const { task } = rules;
  const isTokens = task === 'token-classification';
  if (format === 'conll' && isTokens) return readConll(file, rules.labelled);
  if (format !== 'conll' && !isTokens) return readTable(file, format, rules);
  const expected = isTokens ? 'JSONL or CoNLL' : 'JSONL, CSV or TSV';
  throw new WhittleError(
    'BAD_DATA',
    `${file}: expected a ${expected} file for ${task} but found ${format.toUpperCase()}`,
  );
}

async function* readJsonl(file: string): AsyncGenerator<SourceRecord, void, undefined> {
  for await (const { text, number } of readLines(file)) {
    if (text.trim() !== '') yield { line: number, read: () => parseJson(text, `${file}:${number}`) };
  }
}

function parseJson(text: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WhittleError('BAD_DATA', `${place}: expected a JSON object but found ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function* readTable(
  file: string,
  format: 'csv' | 'tsv',
  { task, labelled, columns: names }: RowRules,
): AsyncGenerator<SourceRecord, void, undefined> {
  const parser = parse({
    delimiter: format === 'tsv' ? '\t' : ',',
    quote: format === 'tsv' ? null : '"',
    skip_empty_lines: true,
    relax_column_count: true,
    raw: true,
  });
  let columns: string[] | undefined;
  let line = 1;
  try {
    const source = Readable.from(textBlocks(file)).on('error', (error) => parser.destroy(error));
    for await (const { record, raw } of source.pipe(parser) as AsyncIterable<{ record: string[]; raw: string }>) {
      // The raw text of a record begins with the blank lines before it.
      const start = line + countLineEnds(/^\n*/.exec(raw)![0]);
      line += countLineEnds(raw);
      if (columns === undefined) columns = readHeader(record, neededColumns(names, labelled, task), `${file}:${start}`);
      else yield { line: start, read: tableRow.bind(undefined, record, columns, `${file}:${start}`) };
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new WhittleError(
      'BAD_DATA',
      `${file}:${error.lines as number}: expected a ${format.toUpperCase()} row but found: ${error.message}`,
      {
        cause: error,
      },
    );
  }
}

/** The file's text, checked to be UTF-8, in pieces of whole lines. */
async function* textBlocks(file: string): AsyncGenerator<string, void, undefined> {
  let block = '';
  for await (const { text } of readLines(file)) {
    block += `${text}\n`;
    if (block.length < 1 << 16) continue;
    yield block;
    block = '';
  }
  if (block !== '') yield block;
}

function countLineEnds(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++;
  return count;
}

/** The columns that a table must have. Pairs to train embeddings on need no score. */
function neededColumns({ text, textPair, label }: ColumnNames, labelled: boolean, task: Task): string[] {
  if (!labelled) return [text];
  return task === 'embedding' ? [text, textPair] : [text, label];
}

function readHeader(record: string[], needed: readonly string[], place: string): string[] {
  const columns = record.map((name) => name.trim());
  for (const one of needed) {
    if (columns.includes(one)) continue;
    throw new WhittleError(
      'BAD_DATA',
      `${place}: expected a header with a column "${one}" but found ${columns.map((name) => `"${name}"`).join(', ')}`,
    );
  }
  return columns;
}

function tableRow(record: string[], columns: string[], place: string): Record<string, string> {
  if (record.length !== columns.length) {
    throw new WhittleError(
      'BAD_DATA',
      `${place}: expected ${columns.length} columns, as in the header, but found ${record.length}`,
    );
  }
  return Object.fromEntries(columns.map((name, index) => [name, record[index]!]));
}

async function* readConll(file: string, labelled: boolean): AsyncGenerator<SourceRecord, void, undefined> {
  let sentence: { columns: string[]; line: number }[] = [];
  for await (const { text, number } of readLines(file)) {
    const isDocument = text.startsWith('-DOCSTART-');
    if (text.trim() !== '' && !isDocument) {
      sentence.push({ columns: text.includes('\t') ? text.split('\t') : text.trim().split(/ +/), line: number });
    } else if (sentence.length > 0) {
      yield conllRecord(sentence, labelled, file);
      sentence = [];
    }
  }
  if (sentence.length > 0) yield conllRecord(sentence, labelled, file);
}

function conllRecord(lines: { columns: string[]; line: number }[], labelled: boolean, file: string): SourceRecord {
  const read = () => {
    const tagged = labelled || lines[0]!.columns.length > 1;
    const tokens = lines.map(({ columns }) => columns[0]!);
    if (!tagged) return { tokens };
    const tags = lines.map(({ columns, line }) => {
      const tag = columns.length > 1 ? columns.at(-1)!.trim() : undefined;
      if (tag !== undefined && parseTag(tag) !== undefined) return tag;
      throw badRow(`${file}:${line}`, 'a token and, last on the line, its tag O, B-TYPE or I-TYPE', tag);
    });
    return { tokens, tags };
  };
  return { line: lines[0]!.line, read };
}
