/** The rows that `whittle predict` reads, good ones and bad ones, with their places. */
import { extname } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import type { Row, Task } from '../data/dataset.js';
import { readLines } from '../data/lines.js';
import { hasParquetColumn } from '../data/parquet.js';
import { formatOf, withoutGzip } from '../data/formats.js';
import { readRows } from '../data/read-rows.js';
import type { Input } from '../predict/predictions.js';

/** One row to predict on. */
export interface InputRow {
  /** 1-based. */
  line: number;
  /** Everything that the file holds for the row. */
  fields: Record<string, unknown>;
  input: Input;
}

export interface InputOptions {
  /** What the model does. */
  task: Task;
  textColumn?: string | undefined;
  textPairColumn?: string | undefined;
  /** Takes rows that cannot be read. */
  onBadRow: (line: number, error: WhittleError) => void;
  /** Takes the column names of a table, before its first row. */
  onHeader?: ((columns: string[]) => void) | undefined;
}

/**
 * The rows of a file: a text a line (.txt), or what `readRows` reads. Bad rows go to `onBadRow`.
 * @throws WhittleError `BAD_DATA` for a missing file, another format or a table without the text's column.
 */
export async function* readInput(file: string, options: InputOptions): AsyncGenerator<InputRow, void, undefined> {
  if (extname(withoutGzip(file)).toLowerCase() === '.txt') return yield* readTexts(file, options.onBadRow);
  const { textColumn, textPairColumn, onBadRow, onHeader } = options;
  const readOptions = {
    ...{ textColumn, textPairColumn, onHeader },
    onBadRow: (error: WhittleError, line: number) => onBadRow(line, error),
  };
  const task = await rowKind(file, options.task);
  for await (const { row, line, fields } of readRows(file, task, readOptions)) {
    yield { line, fields, input: inputOf(row, options.task) };
  }
}

async function* readTexts(file: string, onBadRow: InputOptions['onBadRow']): AsyncGenerator<InputRow, void, undefined> {
  for await (const { text, number, error } of readLines(file, { badLines: true })) {
    if (error) onBadRow(number, error);
    else if (text.trim() !== '') yield { line: number, fields: { text }, input: text };
    else onBadRow(number, new WhittleError('BAD_DATA', `${file}:${number}: expected a text but found an empty line`));
  }
}

/** Words, or texts among them, for a model of entities if the file may have words; else texts. */
async function rowKind(file: string, task: Task): Promise<Task> {
  const format = formatOf(file, ', or .txt,');
  if (task !== 'token-classification' || format === 'conll' || format === 'jsonl') return task;
  if (format === 'parquet' && (await hasParquetColumn(file, 'tokens'))) return task;
  return 'text-classification';
}

function inputOf(row: Row, task: Task): Input {
  if ('tokens' in row) return { tokens: row.tokens };
  if (task === 'embedding') return row.text;
  return row.textPair === undefined ? row.text : { text: row.text, textPair: row.textPair };
}
