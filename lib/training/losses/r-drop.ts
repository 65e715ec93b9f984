/** R-Drop: two passes of the same rows, with different dropout, are to say the same. */
import { logSoftmaxRow, type LossAndGradient } from './differentiable.js';

/**
 * Half of KL(p || q) + KL(q || p), the mean over rows weighted by `weights`, where p is the softmax of a row of the
 * first half of the logits and q that of the same row of the second half.
 *
 * Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", equation 3.
 *
 * @param logits `[2 rows, classes]`
 * @param weights `[rows]`; rows of weight 0 count nothing.
 */
export function dropoutDivergence(logits: Float32Array, weights: Float64Array, classes: number): LossAndGradient {
  const gradient = new Float32Array(logits.length);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const rows = weights.length;
  const logP = new Float64Array(classes);
  const logQ = new Float64Array(classes);
  let loss = 0;
  weights.forEach((weight, row) => {
    if (weight === 0) return;
    const scale = weight / total / 2;
    logSoftmaxRow(logits, row, logP);
    logSoftmaxRow(logits, row + rows, logQ);
    let meanP = 0;
    let meanQ = 0;
    for (let c = 0; c < classes; c++) {
      const difference = logP[c]! - logQ[c]!;
      meanP += Math.exp(logP[c]!) * difference;
      meanQ += Math.exp(logQ[c]!) * difference;
    }
    loss += scale * (meanP - meanQ);
    for (let c = 0; c < classes; c++) {
      const difference = logP[c]! - logQ[c]!;
      const [p, q] = [Math.exp(logP[c]!), Math.exp(logQ[c]!)];
      gradient[row * classes + c] = scale * (p * (difference - meanP) + p - q);
      gradient[(row + rows) * classes + c] = scale * (q * (meanQ - difference) + q - p);
    }
  });
  return { loss, gradient };
}
