/** How predictions are written: JSONL, CSV, TSV or text, by the extension of the file. */
import { extname } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import type { Task } from '../data/dataset.js';
import type { Prediction } from '../predict/predictions.js';

/** What a predictor says, of any task. */
export type AnyPrediction = Prediction<Task>;

/** Writes rows of one format. Nothing is kept between rows but the header. */
export interface RowFormat {
  /** Text before the first row. */
  header(fields: Record<string, unknown>): string;
  row(fields: Record<string, unknown>, prediction: AnyPrediction): string;
}

/**
 * The format of an output file.
 * @param labels columns of `allScores`; empty without. Tables repeat the input's columns as its first row has them.
 * @throws WhittleError `BAD_OPTION` for another extension.
 */
export function outputFormat(file: string, task: Task, labels: readonly string[]): RowFormat {
  const extension = extname(file).toLowerCase();
  if (extension === '.jsonl') return jsonl;
  if (extension === '.csv') return table(',', task, labels);
  if (extension === '.tsv') return table('\t', task, labels);
  if (extension === '.txt') return plainText;
  throw new WhittleError(
    'BAD_OPTION',
    `${file}: expected an output whose name ends in .jsonl, .csv, .tsv or .txt but found "${extension}"`,
  );
}

const jsonl: RowFormat = {
  header: () => '',
  row: (fields, prediction) => {
    const said = fieldsOf(prediction);
    return `${JSON.stringify({ ...renameTaken(fields, said), ...said })}\n`;
  },
};

/** A prediction as fields of a row. */
function fieldsOf(prediction: AnyPrediction): object {
  return prediction instanceof Float32Array ? { embedding: shortNumbers(prediction) } : prediction;
}

/** The shortest decimals that are the same float32 numbers. */
function shortNumbers(values: Float32Array): number[] {
  return Array.from(values, (value) => {
    for (let digits = 6; digits < 9; digits++) {
      const short = Number(value.toPrecision(digits));
      if (Math.fround(short) === value) return short;
    }
    return Number(value.toPrecision(9));
  });
}

/** `label TAB score` a line, labels separated by `;`, a score, or the entities or the embedding as JSON. */
const plainText: RowFormat = {
  header: () => '',
  row: (_fields, prediction) => {
    if (prediction instanceof Float32Array) return `${JSON.stringify(shortNumbers(prediction))}\n`;
    if ('entities' in prediction) return `${JSON.stringify(prediction.entities)}\n`;
    if ('labels' in prediction) return `${prediction.labels.join(';')}\n`;
    return 'label' in prediction ? `${prediction.label ?? ''}\t${prediction.score}\n` : `${prediction.score}\n`;
  },
};

/** The columns that a task adds to a table, beside those of `allScores`. */
const addedColumns: Record<Task, readonly string[]> = {
  'text-classification': ['label', 'score'],
  'multi-label-classification': ['labels'],
  regression: ['score'],
  'token-classification': ['entities'],
  embedding: ['embedding'],
};

/** The input's columns, then the prediction's. */
function table(delimiter: string, task: Task, labels: readonly string[]): RowFormat {
  const added = [...addedColumns[task], ...labels.map((label) => `score ${label}`)];
  let columns: string[] = [];
  const line = (cells: readonly unknown[]) => `${cells.map((cell) => quote(cell, delimiter)).join(delimiter)}\n`;
  return {
    header: (fields) => {
      columns = Object.keys(fields);
      return line([...columns.map((name) => (added.includes(name) ? inputName(name) : name)), ...added]);
    },
    row: (fields, prediction) => {
      const said = fieldsOf(prediction) as Record<string, unknown>;
      const scores = said.scores as Record<string, number> | undefined;
      const cells = addedColumns[task].map((name) => cellOf(name, said[name]));
      return line([...columns.map((name) => fields[name]), ...cells, ...labels.map((label) => scores?.[label])]);
    },
  };
}

/** Labels are separated by `;`, as they are read from tables. */
function cellOf(name: string, value: unknown): unknown {
  return name === 'labels' ? (value as string[]).join(';') : value;
}

/** The input's own `label` becomes `inputLabel` where the prediction has one. */
function renameTaken(fields: Record<string, unknown>, prediction: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name in prediction ? inputName(name) : name, value]),
  );
}

function inputName(name: string): string {
  return `input${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}

function quote(cell: unknown, delimiter: string): string {
  const text = typeof cell === 'string' ? cell : cell === undefined || cell === null ? '' : JSON.stringify(cell);
  return /["\n\r]/.test(text) || text.includes(delimiter) ? `"${text.replaceAll('"', '""')}"` : text;
}
