/** Binary cross-entropy of several labels, with label weights, smoothing and focusing; R-Drop of labels and numbers. */
import type { LossAndGradient } from './differentiable.js';

export interface LabelLossOptions {
  /** `[labels]` what having a label counts beside not having it; all 1 unless given. */
  positiveWeights?: Float32Array;
  /** Targets 0 and 1 become s / 2 and 1 - s / 2. 0 unless given. */
  labelSmoothing?: number;
  /** The loss of a label whose right answer has probability p is multiplied by (1 - p)^gamma. 0 unless given. */
  focalGamma?: number;
}

/**
 * Mean over all rows and labels of t w (1 - p)^gamma (-log p) + (1 - t) p^gamma (-log(1 - p)), where p is the sigmoid of
 * the logit, t the target, smoothed, and w the label's positive weight.
 *
 * With gamma 0 this is torch.nn.functional.binary_cross_entropy_with_logits with `pos_weight`; with gamma above 0 it is
 * the focal loss of Lin et al. 2017, equation 5.
 *
 * @param logits `[rows, labels]`
 * @param targets `[rows, labels]`, 0 or 1
 * @example
 * labelLoss(Float32Array.of(0), Float32Array.of(1), 1, {}).loss; // ln 2
 */
export function labelLoss(
  logits: Float32Array,
  targets: Float32Array,
  labels: number,
  { positiveWeights, labelSmoothing = 0, focalGamma: gamma = 0 }: LabelLossOptions,
): LossAndGradient {
  const gradient = new Float32Array(logits.length);
  let loss = 0;
  for (let at = 0; at < logits.length; at++) {
    const target = targets[at]! * (1 - labelSmoothing) + labelSmoothing / 2;
    const yes = focused(logits[at]!, gamma);
    const no = focused(-logits[at]!, gamma);
    const weight = target * (positiveWeights?.[at % labels] ?? 1);
    loss += weight * yes.loss + (1 - target) * no.loss;
    gradient[at] = (weight * yes.slope - (1 - target) * no.slope) / logits.length;
  }
  return { loss: loss / Math.max(1, logits.length), gradient };
}

/** (1 - p)^gamma (-log p) for p = sigmoid(x), and its derivative with respect to x. */
function focused(x: number, gamma: number): { loss: number; slope: number } {
  const exponential = Math.exp(-Math.abs(x));
  const logP = Math.min(x, 0) - Math.log1p(exponential);
  const others = (x > 0 ? exponential : 1) / (1 + exponential);
  if (gamma === 0) return { loss: -logP, slope: -others };
  const focus = others ** gamma;
  return { loss: -focus * logP, slope: focus * (gamma * (1 - others) * logP - others) };
}

/**
 * What two passes of the same rows disagree by: half of KL(p || q) + KL(q || p) of each label's probability, or the
 * squared difference of numbers, the mean over all of them. R-Drop (Liang et al. 2021) of tasks without classes; of
 * numbers as in its section 3.4.
 *
 * @param outputs `[2 * rows, width]`, logits or numbers: all rows of the first pass, then all of the second.
 */
export function passDifference(outputs: Float32Array, kind: 'labels' | 'numbers'): LossAndGradient {
  const gradient = new Float32Array(outputs.length);
  const half = outputs.length / 2;
  let loss = 0;
  for (let at = 0; at < half; at++) {
    const difference = outputs[at]! - outputs[at + half]!;
    if (kind === 'numbers') {
      loss += difference * difference;
      gradient[at] = (2 * difference) / half;
      gradient[at + half] = -gradient[at]!;
      continue;
    }
    const p = 1 / (1 + Math.exp(-outputs[at]!));
    const q = 1 / (1 + Math.exp(-outputs[at + half]!));
    loss += ((p - q) * difference) / 2;
    gradient[at] = (p - q + p * (1 - p) * difference) / 2 / half;
    gradient[at + half] = (q - p - q * (1 - q) * difference) / 2 / half;
  }
  return { loss: loss / Math.max(1, half), gradient };
}
