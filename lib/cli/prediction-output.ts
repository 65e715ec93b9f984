/** How predictions are written: JSONL, CSV, TSV or text, by the extension of the file. */
import { extname } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import type { Task } from '../data/dataset.js';
import type { Entity } from '../predict/predictions.js';

/** What a predictor says, of either task. */
export type AnyPrediction =
  { label: string | null; score: number; scores?: Record<string, number> } | { entities: Entity[]; tags?: string[] };

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
  row: (fields, prediction) => `${JSON.stringify({ ...renameTaken(fields, prediction), ...prediction })}\n`,
};

/** `label TAB score` a line, or the entities as JSON. */
const plainText: RowFormat = {
  header: () => '',
  row: (_fields, prediction) =>
    'entities' in prediction
      ? `${JSON.stringify(prediction.entities)}\n`
      : `${prediction.label ?? ''}\t${prediction.score}\n`,
};

/** The input's columns, then the prediction's. */
function table(delimiter: string, task: Task, labels: readonly string[]): RowFormat {
  const isText = task === 'text-classification';
  const added = isText ? ['label', 'score', ...labels.map((label) => `score ${label}`)] : ['entities'];
  let columns: string[] = [];
  const line = (cells: readonly unknown[]) => `${cells.map((cell) => quote(cell, delimiter)).join(delimiter)}\n`;
  return {
    header: (fields) => {
      columns = Object.keys(fields);
      return line([...columns.map((name) => (added.includes(name) ? inputName(name) : name)), ...added]);
    },
    row: (fields, prediction) => {
      const values =
        'entities' in prediction
          ? [prediction.entities]
          : [prediction.label ?? '', prediction.score, ...labels.map((label) => prediction.scores?.[label])];
      return line([...columns.map((name) => fields[name]), ...values]);
    },
  };
}

/** The input's own `label` becomes `inputLabel` where the prediction has one. */
function renameTaken(fields: Record<string, unknown>, prediction: AnyPrediction): Record<string, unknown> {
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
