/** What teachers say about the training rows, computed once. */

/** One teacher's logits, one array a row: `[positions, labels]`, a position for each label of the row. */
export interface TeacherLogits {
  /** Share of this teacher; only the proportions count. */
  weight: number;
  rows: readonly Float32Array[];
}

/** The teachers' softened distributions, mixed by weight. */
export interface SoftLabels {
  labels: number;
  temperature: number;
  /** One array a row, `[positions, labels]`: sum over teachers of weight * softmax(logits / temperature). */
  probabilities: Float32Array[];
  /** One array a row, `[positions]`: sum over teachers of weight * sum of p log p, the part of KL without the student. */
  negativeEntropies: Float32Array[];
}

/**
 * Mixes teachers into one distribution a position. The divergence of a student from several teachers, weighted and
 * summed, is its cross-entropy against the mixture plus the teachers' own negative entropies, so this is all that
 * training needs.
 *
 * @param teachers with weights in any unit and rows of equal lengths; a row may have fewer positions than another
 *   teacher's, where that one's text was cut: the positions that all have count.
 * @example
 * mixTeachers([{ weight: 1, rows: [Float32Array.of(0, 0)] }], 2, 4).probabilities; // [[0.5, 0.5]]
 */
export function mixTeachers(teachers: readonly TeacherLogits[], labels: number, temperature: number): SoftLabels {
  const total = teachers.reduce((sum, { weight }) => sum + weight, 0);
  const probabilities: Float32Array[] = [];
  const negativeEntropies: Float32Array[] = [];
  for (let row = 0; row < teachers[0]!.rows.length; row++) {
    const positions = Math.min(...teachers.map(({ rows }) => rows[row]!.length / labels));
    const mixed = new Float32Array(positions * labels);
    const negative = new Float32Array(positions);
    for (const { weight, rows } of teachers)
      for (let position = 0; position < positions; position++) {
        const logits = rows[row]!.subarray(position * labels, (position + 1) * labels);
        const softened = softmax(logits, temperature);
        let sum = 0;
        softened.forEach((p, label) => {
          mixed[position * labels + label]! += (weight / total) * p;
          if (p > 0) sum += p * Math.log(p);
        });
        negative[position]! += (weight / total) * sum;
      }
    probabilities.push(mixed);
    negativeEntropies.push(negative);
  }
  return { labels, temperature, probabilities, negativeEntropies };
}

/** softmax(logits / temperature), in double precision. */
function softmax(logits: Float32Array, temperature: number): Float64Array {
  const scaled = Float64Array.from(logits, (value) => value / temperature);
  const largest = scaled.reduce((a, b) => Math.max(a, b), -Infinity);
  const exponentials = scaled.map((value) => Math.exp(value - largest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((value) => value / sum);
}
