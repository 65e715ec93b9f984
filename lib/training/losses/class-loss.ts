/** Cross-entropy with class weights, label smoothing and focusing. */
import { logSoftmaxRow, type LossAndGradient } from './differentiable.js';

export interface ClassLossOptions {
  /** `[classes]`; all 1 unless given. */
  classWeights?: Float32Array;
  /** Part of each target that is spread over all classes alike. 0 unless given. */
  labelSmoothing?: number;
  /** The loss of a class that the model gives probability p is multiplied by (1 - p)^gamma. 0 unless given. */
  focalGamma?: number;
}

/**
 * Sum over rows of sum over classes c of q_c w_c (1 - p_c)^gamma (-log p_c), divided by the sum of the rows' weights
 * w_label. Here p is softmax(logits) and q is 1 - s at the label plus s / classes everywhere, s being the smoothing.
 * Rows labelled -100 count nothing, and the loss of no counted row is 0.
 *
 * With gamma 0 this is what torch.nn.functional.cross_entropy computes with `weight` and `label_smoothing` (Szegedy et
 * al. 2016, section 7); with gamma above 0 it is the focal loss of Lin et al. 2017, equation 5.
 *
 * @param logits `[rows, classes]`
 * @param labels `[rows]`
 * @example
 * classLoss(Float32Array.of(0, 0), Int32Array.of(1), 2, { labelSmoothing: 0.1 }).loss; // ln 2
 */
export function classLoss(
  logits: Float32Array,
  labels: Int32Array,
  classes: number,
  { classWeights, labelSmoothing = 0, focalGamma: gamma = 0 }: ClassLossOptions,
): LossAndGradient {
  const gradient = new Float32Array(logits.length);
  const weights = rowWeights(labels, classWeights);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (total === 0) return { loss: 0, gradient };
  const logP = new Float64Array(classes);
  // Derivative of a class's term with respect to log p, before the softmax is differentiated.
  const slope = new Float64Array(classes);
  let loss = 0;
  labels.forEach((label, row) => {
    if (label === -100) return;
    logSoftmaxRow(logits, row, logP);
    let slopes = 0;
    for (let c = 0; c < classes; c++) {
      const target = (c === label ? 1 - labelSmoothing : 0) + labelSmoothing / classes;
      const factor = (target * (classWeights?.[c] ?? 1)) / total;
      const others = -Math.expm1(logP[c]!);
      const focus = gamma === 0 ? 1 : others ** gamma;
      loss -= factor * focus * logP[c]!;
      // d/dlog p of -(1 - p)^gamma log p; (1 - p)^(gamma - 1) log p goes to 0 as p goes to 1.
      const focusSlope =
        gamma === 0 || others === 0 ? 0 : gamma * others ** (gamma - 1) * Math.exp(logP[c]!) * logP[c]!;
      slope[c] = factor * (focusSlope - focus);
      slopes += slope[c]!;
    }
    for (let c = 0; c < classes; c++) gradient[row * classes + c] = slope[c]! - Math.exp(logP[c]!) * slopes;
  });
  return { loss, gradient };
}

/** `[rows]` what each counts in the mean: the weight of its label, 0 for -100. */
export function rowWeights(labels: Int32Array, classWeights?: Float32Array): Float64Array {
  return Float64Array.from(labels, (label) => (label === -100 ? 0 : (classWeights?.[label] ?? 1)));
}
