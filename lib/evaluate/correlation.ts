/** Scores of numbers against numbers: correlations as SciPy has them, errors as scikit-learn has them. */
import { divide } from './averages.js';

export interface RegressionScores {
  /** Correlation of the values. */
  pearson: number;
  /** Correlation of their ranks; equal values share the mean of their ranks. */
  spearman: number;
  /** Mean squared and mean absolute error. */
  mse: number;
  mae: number;
  support: number;
}

/**
 * Scores predicted numbers against gold ones. A correlation with values that are all the same is 0.
 * @example
 * const { spearman } = scoreRegression([1, 2, 3], [1.1, 1.9, 3.2]); // 1
 */
export function scoreRegression(gold: ArrayLike<number>, predicted: ArrayLike<number>): RegressionScores {
  let [squared, absolute] = [0, 0];
  for (let row = 0; row < gold.length; row++) {
    const difference = predicted[row]! - gold[row]!;
    squared += difference * difference;
    absolute += Math.abs(difference);
  }
  return {
    pearson: pearson(gold, predicted),
    spearman: pearson(ranks(gold), ranks(predicted)),
    mse: divide(squared, gold.length),
    mae: divide(absolute, gold.length),
    support: gold.length,
  };
}

/** Pearson's r of two rows of numbers, 0 if either does not vary. */
export function pearson(x: ArrayLike<number>, y: ArrayLike<number>): number {
  const [meanX, meanY] = [mean(x), mean(y)];
  let [xy, xx, yy] = [0, 0, 0];
  for (let index = 0; index < x.length; index++) {
    const [dx, dy] = [x[index]! - meanX, y[index]! - meanY];
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  }
  return Math.max(-1, Math.min(1, divide(xy, Math.sqrt(xx) * Math.sqrt(yy))));
}

/** Spearman's rank correlation, 0 if either row of numbers does not vary. */
export function spearman(x: ArrayLike<number>, y: ArrayLike<number>): number {
  return pearson(ranks(x), ranks(y));
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < values.length; index++) sum += values[index]!;
  return divide(sum, values.length);
}

/** Ranks from 1; equal values share the mean of theirs. */
function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, index) => index).sort((a, b) => values[a]! - values[b]!);
  const result = new Float64Array(values.length);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let place = start; place < end; place++) result[order[place]!] = (start + 1 + end) / 2;
    start = end;
  }
  return result;
}

/** The scores as a table of text. */
export function formatRegressionReport(scores: Readonly<Record<string, number>>, digits = 4): string {
  const { support, ...figures } = scores;
  const width = Math.max(...Object.keys(figures).map((name) => name.length), 'support'.length);
  const lines = Object.entries(figures).map(([name, value]) => `${name.padStart(width)}  ${value.toFixed(digits)}`);
  return [...lines, `${'support'.padStart(width)}  ${support}`, ''].join('\n');
}
