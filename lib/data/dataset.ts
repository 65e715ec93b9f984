/** Rows as users have them, before tokenization. */
import type { Preprocessing } from './preprocess/preprocessing.js';
import type { StreamedRows } from './streamed-rows.js';

/** The tasks. One entry here, and every step, reader and report knows of it. */
export const tasks = [
  'text-classification',
  'multi-label-classification',
  'regression',
  'token-classification',
  'embedding',
] as const;

/** What a model does with a text. */
export type Task = (typeof tasks)[number];

/** `{"text", "label"}`: one class of several. `textPair` for pairs of texts, here and in the other rows of texts. */
export interface TextRow {
  text: string;
  textPair?: string;
  /** Absent in data to predict on. */
  label?: string;
}

/** `{"text", "labels"}`: any number of classes, none among them. */
export interface MultiLabelRow {
  text: string;
  textPair?: string;
  /** Absent in data to predict on. */
  labels?: string[];
}

/**
 * `{"text", "label"}` with a number. For regression what is to be told; for embeddings how similar `text` and
 * `textPair` are, absent in pairs that are similar and no more is known.
 */
export interface ScoredRow {
  text: string;
  textPair?: string;
  label?: number;
}

/** `{"tokens", "tags"}`: words and their BIO tags, of equal length. */
export interface TokenRow {
  tokens: string[];
  tags?: string[];
}

/** One example as a user has it, of any task. */
export type Row = TextRow | MultiLabelRow | ScoredRow | TokenRow;

/** The rows of a task. */
export type RowOf<T extends Task> = T extends 'token-classification'
  ? TokenRow
  : T extends 'multi-label-classification'
    ? MultiLabelRow
    : T extends 'text-classification'
      ? TextRow
      : ScoredRow;

/** Rows and where they came from, for error messages: `train.jsonl:17`. */
export interface Split<R extends Row = Row> {
  name: string;
  /** The file, or the first of several and how many more there are. */
  file: string;
  rows: R[];
  /** 1-based line of each row in its file. */
  lines: number[];
  /** Where there are several files: all of them, and which one each row is from. */
  files?: { names: readonly string[]; of: number[] };
  /** Where the rows are not in memory (`stream: true`): where they come from. `rows` and `lines` are empty then. */
  source?: StreamedRows;
}

/** `train.jsonl:17` */
export function placeOf({ file, files, lines }: Split, row: number): string {
  return `${files ? files.names[files.of[row]!] : file}:${lines[row]}`;
}

/** Labelled rows of one task in three splits, as `loadDataset` gives them. */
export interface Dataset<R extends Row = Row> {
  task: Task;
  /**
   * Classes, sorted; for token classification the tags, `O` first, then `B-X`, `I-X` by type. Regression has the one
   * name `score`, embeddings have none.
   */
  labels: string[];
  train: Split<R>;
  dev: Split<R>;
  test: Split<R>;
  /** What models are to do with texts before they tokenize them. The rows are as they are in the files. */
  preprocessing?: Preprocessing;
}
