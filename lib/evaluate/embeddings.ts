/** Scores of embeddings of pairs: do their cosines follow the given scores, and does each text find its own pair? */
import { divide } from './averages.js';
import { pearson, spearman } from './correlation.js';

export interface EmbeddingScores {
  /** Correlations of the cosines with the scores of the rows; absent if the rows have none. */
  pearson?: number;
  spearman?: number;
  /** Share of rows whose text is more similar to its own pair than to the pairs of the other rows around it. */
  accuracy?: number;
  /** Mean of 1 / the place of its own pair among them. */
  reciprocalRank?: number;
  support: number;
}

/** Rows are compared with at most so many at once: accuracy would hang on the size of the set otherwise. */
const rowsAtOnce = 1000;

/**
 * @param texts `[rows][hidden]`
 * @param pairs the same shape.
 * @param scores of the rows. Without them texts look for their pairs, among a thousand rows at a time.
 */
export function scoreEmbeddings(
  texts: readonly Float32Array[],
  pairs: readonly Float32Array[],
  scores: readonly number[] | undefined,
): EmbeddingScores {
  const support = texts.length;
  if (scores) {
    const cosines = texts.map((text, row) => cosine(text, pairs[row]!));
    return { pearson: pearson(cosines, scores), spearman: spearman(cosines, scores), support };
  }
  let [first, reciprocal] = [0, 0];
  for (let start = 0; start < support; start += rowsAtOnce) {
    const others = pairs.slice(start, start + rowsAtOnce).map(unit);
    texts.slice(start, start + rowsAtOnce).forEach((text, row) => {
      const vector = unit(text);
      const own = dot(vector, others[row]!);
      const better = others.reduce((count, other) => (dot(vector, other) > own ? count + 1 : count), 0);
      if (better === 0) first++;
      reciprocal += 1 / (better + 1);
    });
  }
  return { accuracy: divide(first, support), reciprocalRank: divide(reciprocal, support), support };
}

/** The cosine of the angle between two vectors; 0 if either has no length. */
export function cosine(a: Float32Array, b: Float32Array): number {
  return divide(dot(a, b), Math.sqrt(dot(a, a) * dot(b, b)));
}

/** The vector scaled to length 1; zeros stay. */
function unit(vector: Float32Array): Float32Array {
  const length = Math.sqrt(dot(vector, vector));
  return length === 0 ? vector : vector.map((value) => value / length);
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let index = 0; index < a.length; index++) sum += a[index]! * b[index]!;
  return sum;
}
