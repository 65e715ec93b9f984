/** Scores of several labels a row, as scikit-learn counts them over indicator matrices. */
import { averageScores, divide, type Averages, type Counts, type Score } from './averages.js';
import { reportTable } from './report-table.js';

export interface MultiLabelScores extends Averages {
  /** Mean of the rows' scores; a row without any label, given or predicted, scores 0. */
  samples: Score;
  /** Share of rows all of whose labels are right. */
  subsetAccuracy: number;
  /** All labels, in their order. */
  perClass: (Score & { label: string })[];
  support: number;
}

/**
 * Scores predicted labels against gold ones. What would divide by zero is 0.
 *
 * @param gold `[rows][labels]` 1 for each label that the row has, else 0.
 * @param predicted the same shape.
 * @param labels names of the labels.
 * @example
 * const { micro, samples } = scoreMultiLabel([[1, 1], [0, 1]], [[1, 0], [0, 1]], ['urgent', 'billing']);
 */
export function scoreMultiLabel(
  gold: readonly ArrayLike<number>[],
  predicted: readonly ArrayLike<number>[],
  labels: readonly string[],
): MultiLabelScores {
  const perLabel = labels.map((label): Counts & { label: string } => ({ label, correct: 0, predicted: 0, actual: 0 }));
  const perRow: Counts[] = gold.map((row, index) => {
    const counts: Counts = { correct: 0, predicted: 0, actual: 0 };
    perLabel.forEach((label, id) => {
      const [there, said] = [row[id]!, predicted[index]![id]!];
      for (const one of [counts, label]) {
        one.correct += there * said;
        one.predicted += said;
        one.actual += there;
      }
    });
    return counts;
  });
  const perClass = perLabel.map((counts) => ({ label: counts.label, ...scoreOf(counts) }));
  const averages = averageScores(perLabel, perClass, scoreOf);
  const right = perRow.filter((one) => one.correct === one.predicted && one.correct === one.actual).length;
  return {
    ...averages,
    samples: { ...averageScores(perRow, perRow.map(scoreOf), scoreOf).macro, support: averages.micro.support },
    subsetAccuracy: divide(right, gold.length),
    perClass,
    support: gold.length,
  };
}

function scoreOf({ correct, predicted, actual }: Counts): Score {
  return {
    precision: divide(correct, predicted),
    recall: divide(correct, actual),
    f1: divide(2 * correct, actual + predicted),
    support: actual,
  };
}

/** The scores as a table of text, character for character as scikit-learn's `classification_report` prints them. */
export function formatMultiLabelReport(scores: MultiLabelScores, digits = 2): string {
  const table = reportTable(
    scores.perClass.map(({ label }) => label),
    digits,
  );
  return [
    table.header(),
    '',
    ...scores.perClass.map((score) => table.row(score.label, score)),
    '',
    table.row('micro avg', scores.micro),
    table.row('macro avg', scores.macro),
    table.row('weighted avg', scores.weighted),
    table.row('samples avg', scores.samples),
    '',
  ].join('\n');
}

/**
 * For each label the threshold that gives the best F1 on the given rows, the highest of equally good ones: half-way
 * between two probabilities, or 0.5 for a label that no row has.
 *
 * @param probabilities `[rows][labels]`
 * @param gold `[rows][labels]` 1 or 0.
 * @example
 * tuneThresholds([[0.9], [0.4], [0.1]], [[1], [1], [0]]); // [0.25]
 */
export function tuneThresholds(
  probabilities: readonly ArrayLike<number>[],
  gold: readonly ArrayLike<number>[],
): number[] {
  return Array.from({ length: gold[0]?.length ?? 0 }, (_, label) => {
    const rows = probabilities
      .map((row, index) => ({ probability: row[label]!, there: gold[index]![label]! }))
      .sort((a, b) => b.probability - a.probability);
    const actual = rows.reduce((sum, { there }) => sum + there, 0);
    if (actual === 0) return 0.5;
    let [best, threshold, correct] = [-1, 0.5, 0];
    rows.forEach(({ probability, there }, index) => {
      correct += there;
      const next = rows[index + 1]?.probability ?? 0;
      if (next === probability) return;
      const f1 = (2 * correct) / (actual + index + 1);
      if (f1 > best) [best, threshold] = [f1, (probability + next) / 2];
    });
    return threshold;
  });
}
