/** The layout that scikit-learn's and seqeval's reports share. */
import type { Score } from './averages.js';

const columnWidth = 9;

export interface ReportTable {
  header(): string;
  row(name: string, score: Score): string;
  /** A row with one figure, in the F1 column. */
  accuracyRow(name: string, accuracy: number, support: number): string;
}

/** @param names of the rows, to make room for the longest. */
export function reportTable(names: readonly string[], digits: number): ReportTable {
  const width = Math.max('weighted avg'.length, digits, ...names.map((name) => Array.from(name).length));
  const line = (name: string, cells: string[]) =>
    `${' '.repeat(Math.max(0, width - Array.from(name).length))}${name} ${cells.map((cell) => ` ${cell.padStart(columnWidth)}`).join('')}`;
  const figure = (value: number) => formatFixed(value, digits);
  return {
    header: () => line('', ['precision', 'recall', 'f1-score', 'support']),
    row: (name, { precision, recall, f1, support }) =>
      line(name, [figure(precision), figure(recall), figure(f1), String(support)]),
    accuracyRow: (name, accuracy, support) => line(name, ['', '', figure(accuracy), String(support)]),
  };
}

/** `toFixed`, but what lies exactly half-way goes to the even digit, as in Python. Values in [0, 1]. */
export function formatFixed(value: number, digits: number): string {
  const rounded = value.toFixed(digits);
  // 53 bits below 1 end after at most 60 or so decimals, unless the value is tiny, and then it is no tie.
  const exact = value.toFixed(100);
  const cut = exact.slice(0, exact.indexOf('.') + 1 + digits);
  const isTie = /^50*$/.test(exact.slice(cut.length));
  return isTie && Number(cut.at(-1)) % 2 === 0 ? cut : rounded;
}
