/** Rows as users have them, before tokenization. */

export type Task = 'text-classification' | 'token-classification';

/** `{"text", "label"}`; `textPair` for sentence pairs. */
export interface TextRow {
  text: string;
  textPair?: string;
  /** Absent in data to predict on. */
  label?: string;
}

/** `{"tokens", "tags"}`: words and their BIO tags, of equal length. */
export interface TokenRow {
  tokens: string[];
  tags?: string[];
}

export type Row = TextRow | TokenRow;

/** Where a row came from, for error messages: `train.jsonl:17`. */
export interface Split<R extends Row = Row> {
  name: string;
  file: string;
  rows: R[];
  /** 1-based line in `file` of each row. */
  lines: number[];
}

export interface Dataset<R extends Row = Row> {
  task: Task;
  /** Sorted; for token classification the tags, `O` first, then `B-X`, `I-X` by type. */
  labels: string[];
  train: Split<R>;
  dev: Split<R>;
  test: Split<R>;
}
