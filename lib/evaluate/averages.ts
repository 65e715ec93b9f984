/** Precision, recall and F1 from counts, and their averages over classes. */

/** How often a class was right, predicted, and there. */
export interface Counts {
  correct: number;
  predicted: number;
  actual: number;
}

export interface Score {
  precision: number;
  recall: number;
  f1: number;
  /** How many there are in the gold data. */
  support: number;
}

export interface Averages {
  /** Over all decisions, whatever their class. */
  micro: Score;
  /** Mean of the classes. */
  macro: Score;
  /** Mean of the classes, weighted by support. */
  weighted: Score;
}

/** The score of counts. What would divide by zero is 0. */
export type ScoreOf = (counts: Counts) => Score;

/** `averages` over the classes' counts and their scores. Without any class, all are 0. */
export function averageScores(counts: readonly Counts[], scores: readonly Score[], scoreOf: ScoreOf): Averages {
  const total: Counts = { correct: 0, predicted: 0, actual: 0 };
  for (const { correct, predicted, actual } of counts) {
    total.correct += correct;
    total.predicted += predicted;
    total.actual += actual;
  }
  const support = counts.map(({ actual }) => actual);
  return {
    micro: scoreOf(total),
    macro: meanScore(
      scores,
      scores.map(() => 1),
      total.actual,
    ),
    weighted: meanScore(scores, support, total.actual),
  };
}

function meanScore(scores: readonly Score[], weights: readonly number[], support: number): Score {
  const whole = pairwiseSum(weights);
  const mean = (field: 'precision' | 'recall' | 'f1') =>
    divide(pairwiseSum(scores.map((score, index) => score[field] * weights[index]!)), whole);
  return { precision: mean('precision'), recall: mean('recall'), f1: mean('f1'), support };
}

export function divide(numerator: number, denominator: number): number {
  return denominator === 0 ? 0 : numerator / denominator;
}

/** Sums in the order that NumPy does, so that averages equal scikit-learn's and seqeval's to the last bit. */
function pairwiseSum(values: readonly number[], start = 0, end = values.length): number {
  const length = end - start;
  if (length > 128) {
    const middle = start + Math.floor(length / 2) - (Math.floor(length / 2) % 8);
    return pairwiseSum(values, start, middle) + pairwiseSum(values, middle, end);
  }
  if (length < 8) {
    let sum = 0;
    for (let index = start; index < end; index++) sum += values[index]!;
    return sum;
  }
  const lanes = values.slice(start, start + 8);
  const whole = end - (length % 8);
  for (let index = start + 8; index < whole; index += 8) {
    for (let lane = 0; lane < 8; lane++) lanes[lane] = lanes[lane]! + values[index + lane]!;
  }
  const [a, b, c, d, e, f, g, h] = lanes as [number, number, number, number, number, number, number, number];
  let sum = a + b + (c + d) + (e + f + (g + h));
  for (let index = whole; index < end; index++) sum += values[index]!;
  return sum;
}
