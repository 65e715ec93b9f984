/** CSV and TSV: a header line, then a row a record. */
import { WhittleError } from '../../bindings/errors.js';
import { CsvRecord } from './csv.js';
import { readLines, type Line } from './lines.js';
import type { Records } from './records.js';

export interface TableOptions {
  format: 'csv' | 'tsv';
  /** Between cells. By default a tab in TSV; in CSV the one of `,` `;` tab `|` that finds the needed columns. */
  separator?: string | undefined;
  /** Columns without which there is nothing to read. */
  needed: readonly string[];
  onHeader?: ((columns: string[]) => void) | undefined;
}

const csvSeparators = [',', ';', '\t', '|'];

/** A quoted cell that goes on for more lines than this has lost its closing quote. */
const mostLinesOfRecord = 10_000;

/** @throws WhittleError `BAD_DATA` for a header without the needed columns or with one twice. */
export async function* readTable(file: string, options: TableOptions): Records {
  const { format, needed, onHeader } = options;
  const lines = new LineBuffer(readLines(file, { badLines: true }));
  let separator = options.separator ?? (format === 'tsv' ? '\t' : undefined);
  let columns: string[] | undefined;
  try {
    for (let line = await lines.next(); line; line = await lines.next()) {
      if (line.text === '' && !line.error) continue;
      separator ??= findSeparator(line.text, needed);
      const place = `${file}:${line.number}`;
      const { cells, problem } =
        format === 'tsv' ? { cells: line.text.split(separator) } : await readCsvRecord(line, lines, separator);
      const error = line.error ?? (problem === undefined ? undefined : badQuote(place, problem));
      if (columns !== undefined) {
        yield { line: line.number, read: tableRow.bind(undefined, cells, columns, place, error) };
      } else if (error !== undefined) throw error;
      else {
        columns = readHeader(cells, needed, place);
        onHeader?.(columns);
      }
    }
  } finally {
    await lines.close();
  }
}

/** A comma, unless only another separator finds all needed columns in the header. */
function findSeparator(header: string, needed: readonly string[]): string {
  const finds = (separator: string) => {
    const record = new CsvRecord(separator);
    const names = record.add(header) ? record.cells.map((name) => name.trim()) : [];
    return needed.every((name) => names.includes(name));
  };
  return csvSeparators.find(finds) ?? ',';
}

/** The record that begins with `first`. One with a problem is that line alone, and the lines after it are read anew. */
async function readCsvRecord(
  first: Line,
  lines: LineBuffer,
  separator: string,
): Promise<{ cells: string[]; problem?: string }> {
  const record = new CsvRecord(separator);
  const taken: Line[] = [];
  let isComplete = record.add(first.text);
  while (!isComplete) {
    const line = taken.length < mostLinesOfRecord ? await lines.next() : undefined;
    if (line === undefined) record.problem = 'a closing quote to every opening one';
    else taken.push(line);
    if (line?.error) record.problem = 'UTF-8 text up to the closing quote';
    isComplete = record.problem !== undefined || record.add(line!.text);
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
  readonly #ahead: Line[] = [];

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
  error: WhittleError | undefined,
): Record<string, string> {
  if (error !== undefined) throw error;
  if (record.length !== columns.length) {
    throw new WhittleError(
      'BAD_DATA',
      `${place}: expected ${columns.length} columns, as in the header, but found ${record.length}`,
    );
  }
  return Object.fromEntries(columns.map((name, index) => [name, record[index]!]));
}
