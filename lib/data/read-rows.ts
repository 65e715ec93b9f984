/** Data files of several formats as a stream of checked rows. */
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import { parseTag } from './bio.js';
import { CsvRecord } from './csv.js';
import type { Row, RowOf, Task } from './dataset.js';
import { readLines, type Line } from './lines.js';
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
  /** Gets the column names of a table, before its first row. */
  onHeader?: ((columns: string[]) => void) | undefined;
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
  const format = options.format ?? formatOf(file, ', or the option "format",');
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
  for await (const { read, line } of readRecords(file, format, rules, options.onHeader)) {
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

/**
 * The format that a file's name tells.
 * @param otherwise what else the caller takes, for the error: `, or the option "format"`.
 * @throws WhittleError `BAD_DATA` for another extension, or if there is no such file.
 */
export function formatOf(file: string, otherwise = ''): DataFormat {
  const format = extensions[extname(file).toLowerCase()];
  if (format !== undefined) return format;
  if (!existsSync(file)) throw new WhittleError('BAD_DATA', `${file}: expected a data file but there is none`);
  throw new WhittleError(
    'BAD_DATA',
    `${file}: expected a data file whose name ends in ${dataExtensions.join(', ')}${otherwise} but found "${extname(file)}"`,
  );
}

/** What a file holds for one row, before it is checked. */
interface SourceRecord {
  line: number;
  /** @throws WhittleError `BAD_DATA` if there is no row to be had from the line. */
  read: () => unknown;
}

function readRecords(
  file: string,
  format: DataFormat,
  rules: RowRules,
  onHeader: ReadOptions['onHeader'],
): AsyncGenerator<SourceRecord, void, undefined> {
  if (format === 'jsonl') return readJsonl(file);
  const { task } = rules;
  const isTokens = task === 'token-classification';
  if (format === 'conll' && isTokens) return readConll(file, rules.labelled);
  if (format !== 'conll' && !isTokens) return readTable(file, format, rules, onHeader);
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

/** A quoted cell that goes on for more lines than this has lost its closing quote. */
const mostLinesOfRecord = 10_000;

async function* readTable(
  file: string,
  format: 'csv' | 'tsv',
  { task, labelled, columns: names }: RowRules,
  onHeader: ReadOptions['onHeader'],
): AsyncGenerator<SourceRecord, void, undefined> {
  const lines = new LineBuffer(readLines(file));
  let columns: string[] | undefined;
  try {
    for (let line = await lines.next(); line; line = await lines.next()) {
      if (line.text === '') continue;
      const place = `${file}:${line.number}`;
      const { cells, problem } = format === 'tsv' ? { cells: line.text.split('\t') } : await readCsvRecord(line, lines);
      if (columns !== undefined) {
        yield { line: line.number, read: tableRow.bind(undefined, cells, columns, place, problem) };
      } else if (problem !== undefined) throw badQuote(place, problem);
      else {
        columns = readHeader(cells, neededColumns(names, labelled, task), place);
        onHeader?.(columns);
      }
    }
  } finally {
    await lines.close();
  }
}

/** The record that begins with `first`. One with a problem is that line alone, and the lines after it are read anew. */
async function readCsvRecord(first: Line, lines: LineBuffer): Promise<{ cells: string[]; problem?: string }> {
  const record = new CsvRecord(',');
  const taken: Line[] = [];
  let isComplete = record.add(first.text);
  while (!isComplete) {
    const line = taken.length < mostLinesOfRecord ? await lines.next() : undefined;
    if (line === undefined) record.problem = 'a closing quote to every opening one';
    else taken.push(line);
    isComplete = line === undefined || record.add(line.text);
  }
  if (record.problem === undefined) return { cells: record.cells };
  lines.putBack(taken);
  return { cells: record.cells, problem: record.problem };
}

function badQuote(place: string, problem: string): WhittleError {
  return new WhittleError('BAD_DATA', `${place}: expected ${problem} but found a quote out of place`);
}

/** Lines that can be put back. */
class LineBuffer {
  #ahead: Line[] = [];

  constructor(private readonly source: AsyncGenerator<Line, void, undefined>) {}

  async next(): Promise<Line | undefined> {
    const line = this.#ahead.pop();
    if (line) return line;
    const { value } = await this.source.next();
    return value ?? undefined;
  }

  putBack(lines: readonly Line[]): void {
    this.#ahead.push(...[...lines].reverse());
  }

  async close(): Promise<void> {
    await this.source.return();
  }
}

/** The columns that a table must have. Pairs to train embeddings on need no score. */
function neededColumns({ text, textPair, label }: ColumnNames, labelled: boolean, task: Task): string[] {
  if (!labelled) return [text];
  return task === 'embedding' ? [text, textPair] : [text, label];
}

function readHeader(record: string[], needed: readonly string[], place: string): string[] {
  const unnamed = record.filter((name) => name.trim() === '').length;
  // Spreadsheets leave empty columns behind; each keeps its cells under its place.
  const columns = record.map((name, index) => (unnamed > 1 && !name.trim() ? `column ${index + 1}` : name.trim()));
  const twice = columns.find((name, index) => columns.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new WhittleError(
      'BAD_DATA',
      `${place}: expected a header whose columns have different names but found "${twice}" twice`,
    );
  }
  for (const one of needed) {
    if (columns.includes(one)) continue;
    throw new WhittleError(
      'BAD_DATA',
      `${place}: expected a header with a column "${one}" but found ${columns.map((name) => `"${name}"`).join(', ')}`,
    );
  }
  return columns;
}

function tableRow(
  record: string[],
  columns: string[],
  place: string,
  problem: string | undefined,
): Record<string, string> {
  if (problem !== undefined) throw badQuote(place, problem);
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
