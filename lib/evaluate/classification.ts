/** Scores of text classification, as scikit-learn's `classification_report` counts them. */
import { averageScores, divide, type Averages, type Counts, type Score } from './averages.js';
import { reportTable } from './report-table.js';

export interface ClassificationScores extends Averages {
  accuracy: number;
  /** The classes that are in the gold data or the predictions, in the order of the labels. */
  perClass: (Score & { label: string })[];
  /** `[labels, labels]`: rows are gold labels, columns predictions, over all labels. */
  confusion: number[][];
  support: number;
}

/**
 * Scores predicted class ids against gold ones. As in scikit-learn, classes that appear in neither are left out of the
 * averages, and what would divide by zero is 0.
 *
 * @param gold `[rows]` class ids.
 * @param predicted `[rows]` class ids.
 * @param labels names of the classes.
 * @example
 * const { accuracy, macro } = scoreClassification([0, 1, 1], [0, 1, 0], ['no', 'yes']);
 */
export function scoreClassification(
  gold: ArrayLike<number>,
  predicted: ArrayLike<number>,
  labels: readonly string[],
): ClassificationScores {
  const confusion = labels.map(() => labels.map(() => 0));
  for (let row = 0; row < gold.length; row++) confusion[gold[row]!]![predicted[row]!]!++;
  const all: (Counts & { label: string })[] = labels.map((label, id) => ({
    label,
    correct: confusion[id]![id]!,
    predicted: confusion.reduce((sum, row) => sum + row[id]!, 0),
    actual: confusion[id]!.reduce((sum, count) => sum + count, 0),
  }));
  const present = all.filter((one) => one.predicted + one.actual > 0);
  const perClass = present.map((one) => ({ label: one.label, ...classScore(one) }));
  const correct = all.reduce((sum, one) => sum + one.correct, 0);
  return {
    accuracy: divide(correct, gold.length),
    perClass,
    ...averageScores(present, perClass, classScore),
    confusion,
    support: gold.length,
  };
}

function classScore({ correct, predicted, actual }: Counts): Score {
  return {
    precision: divide(correct, predicted),
    recall: divide(correct, actual),
    f1: divide(2 * correct, actual + predicted),
    support: actual,
  };
}

/** The scores as a table of text, character for character as scikit-learn's `classification_report` prints them. */
export function formatClassificationReport(scores: ClassificationScores, digits = 2): string {
  const table = reportTable(
    scores.perClass.map(({ label }) => label),
    digits,
  );
  return [
    table.header(),
    '',
    ...scores.perClass.map((score) => table.row(score.label, score)),
    '',
    table.accuracyRow('accuracy', scores.accuracy, scores.support),
    table.row('macro avg', scores.macro),
    table.row('weighted avg', scores.weighted),
    '',
  ].join('\n');
}
