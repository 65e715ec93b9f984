/** Data files of several formats as a stream of checked rows. */
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { checkOptions, didYouMean, functionRule } from '../options.js';
import { readConll } from './conll.js';
import { tasks, type Row, type RowOf, type Task } from './dataset.js';
import { dataFormats, formatOf, type DataFormat } from './formats.js';
import { readLines } from './lines.js';
import { readParquet } from './parquet.js';
import type { OnBadRow, Records } from './records.js';
import { checkRow, defaultColumns, describeValue, type ColumnNames, type RowRules, type TagScheme } from './rows.js';
import { readTable } from './table.js';

export type { DataFormat } from './formats.js';

/** How `readRows` reads a file. */
export interface ReadOptions {
  /** By the file's extension if absent. */
  format?: DataFormat | undefined;
  /** Whether every row must have its label or tags. Default false: rows to predict on. */
  labelled?: boolean | undefined;
  /**
   * What the columns of a table, or fields of JSONL, are called: `{ text: 'message', label: 'intent' }`. Defaults:
   * `text`, `textPair`, `label` (multi-label rows: `labels`), `tokens`, `tags`.
   */
  columns?: { [name in keyof ColumnNames]?: string | undefined } | undefined;
  /** Short for `columns: { text }`, `{ textPair }`, `{ label }`. */
  textColumn?: string | undefined;
  textPairColumn?: string | undefined;
  labelColumn?: string | undefined;
  /** Between the cells of a CSV file; the one of `,` `;` tab `|` that finds the columns if absent. */
  separator?: string | undefined;
  /** How entity tags are written. Default IOB2 for JSONL; CoNLL files are read as IOB1, which IOB2 is a case of. */
  scheme?: TagScheme | undefined;
  /** Gets each bad row's error, and the row is left out. Without it the first bad row's error is thrown. */
  onBadRow?: OnBadRow | undefined;
  /** Gets the column names of a table, before its first row. */
  onHeader?: ((columns: string[]) => void) | undefined;
}

const name = z.string('expected the name of a column').min(1, 'expected the name of a column');

/** Names of columns, by the fields that they hold. */
export const columnsRule = z.strictObject({
  text: name.optional(),
  textPair: name.optional(),
  label: name.optional(),
  tokens: name.optional(),
  tags: name.optional(),
});

export const separatorRule = z.string('expected one character').length(1, 'expected one character');

const readSchema = z.strictObject({
  format: z.enum(dataFormats).optional(),
  labelled: z.boolean().optional(),
  columns: columnsRule.optional(),
  textColumn: name.optional(),
  textPairColumn: name.optional(),
  labelColumn: name.optional(),
  separator: separatorRule.optional(),
  scheme: z.enum(['IOB1', 'IOB2']).optional(),
  onBadRow: functionRule().optional(),
  onHeader: functionRule().optional(),
});

/** @throws WhittleError `BAD_OPTION`, also for misspelt options, which would be left out without a word. */
function checkCall(file: unknown, task: unknown, options: unknown): void {
  if (typeof file !== 'string' || file === '')
    throw new WhittleError('BAD_OPTION', `readRows: expected the name of a file but found ${describeValue(file)}`);
  if (!tasks.includes(task as Task))
    throw new WhittleError(
      'BAD_OPTION',
      `readRows: expected a task, one of ${tasks.join(', ')}, but found ${describeValue(task)}${didYouMean(String(task), tasks)}`,
    );
  checkOptions(readSchema, options, 'readRows options');
}

/**
 * A row, the 1-based line that it starts on (of Parquet the row), and everything that the file holds for it, by column
 * or key.
 */
export interface LocatedRow<R extends Row = Row> {
  row: R;
  line: number;
  fields: Record<string, unknown>;
}

/**
 * The rows of a data file, one by one, at flat memory whatever the file's size. `.gz` files are unpacked on the way.
 *
 * - JSONL: `{"text", "textPair"?, "label"?}` or `{"tokens", "tags"?}` a line; blank lines are skipped.
 * - CSV, TSV: a header line, then a row a record (no entities); other columns are ignored.
 * - CoNLL: a token a line, its tag last, columns separated by tabs or spaces; a blank line ends a sentence,
 *   `-DOCSTART-` lines and comments are skipped. Without labels the tag column may be missing.
 * - Parquet: columns as the fields of JSONL; a row group at a time is in memory.
 *
 * Tags in IOB1 (CoNLL), IOBES and BILOU become IOB2.
 *
 * @throws WhittleError `BAD_OPTION` for an unknown task or option; `BAD_DATA` with `file:line: expected ... but found ...` for a bad row (unless `onBadRow` takes
 * it), a missing file or an unknown format; `IO` if reading fails.
 * @example
 * const columns = { text: 'text' };
 * for await (const { row, line } of readRows('examples/quickstart/data/dev.jsonl', 'text-classification', { columns })) {
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
  checkCall(file, task, options);
  const format = options.format ?? formatOf(file, ', or the option "format",');
  const rules: RowRules = {
    task,
    labelled: options.labelled ?? false,
    scheme: options.scheme ?? (format === 'conll' ? 'IOB1' : 'IOB2'),
    columns: columnsOf(task, options),
    fromTable: format === 'csv' || format === 'tsv',
    fromColumns: format === 'parquet',
  };
  for await (const { read, line } of readRecords(file, format, rules, options)) {
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

/** @throws WhittleError `BAD_OPTION` if a column is named twice, and differently. */
function columnsOf(task: Task, options: ReadOptions): ColumnNames {
  const { columns = {}, textColumn, textPairColumn, labelColumn } = options;
  const short = { text: textColumn, textPair: textPairColumn, label: labelColumn };
  const result = { ...defaultColumns(task) };
  for (const name of Object.keys(result) as (keyof ColumnNames)[]) {
    const shortName = name in short ? short[name as keyof typeof short] : undefined;
    const longName = columns[name];
    if (shortName !== undefined && longName !== undefined && shortName !== longName) {
      throw new WhittleError(
        'BAD_OPTION',
        `columns: expected one name for "${name}" but found "${longName}" and, by ${name}Column, "${shortName}"`,
      );
    }
    result[name] = longName ?? shortName ?? result[name];
  }
  return result;
}

function readRecords(file: string, format: DataFormat, rules: RowRules, { separator, onHeader }: ReadOptions): Records {
  const { task, labelled, columns } = rules;
  const needed = neededColumns(columns, labelled, task);
  const isTokens = task === 'token-classification';
  if (format === 'jsonl') return readJsonl(file);
  if (format === 'parquet') return readParquet(file, { needed, onHeader });
  if (format === 'conll' && isTokens) return readConll(file, labelled, columns);
  if (format !== 'conll' && !isTokens) return readTable(file, { format, separator, needed, onHeader });
  const expected = isTokens ? 'JSONL, Parquet or CoNLL' : 'JSONL, Parquet, CSV or TSV';
  throw new WhittleError(
    'BAD_DATA',
    `${file}: expected a ${expected} file for ${task} but found ${format.toUpperCase()}`,
  );
}

/** The columns that a table must have. Pairs to train embeddings on need no score. */
function neededColumns({ text, textPair, label, tokens, tags }: ColumnNames, labelled: boolean, task: Task): string[] {
  if (task === 'token-classification') return labelled ? [tokens, tags] : [tokens];
  if (!labelled) return [text];
  return task === 'embedding' ? [text, textPair] : [text, label];
}

async function* readJsonl(file: string): Records {
  for await (const { text, number, error } of readLines(file, { badLines: true })) {
    if (error || text.trim() !== '') yield { line: number, read: () => parseJson(text, `${file}:${number}`, error) };
  }
}

function parseJson(text: string, place: string, error: WhittleError | undefined): unknown {
  if (error) throw error;
  try {
    return JSON.parse(text);
  } catch (cause) {
    const { message } = cause as Error;
    throw new WhittleError('BAD_DATA', `${place}: expected a JSON object but the line is none: ${message}`, { cause });
  }
}
