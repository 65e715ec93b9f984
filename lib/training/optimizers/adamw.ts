/** AdamW (Loshchilov and Hutter 2019): Adam with decoupled weight decay, one native call for all parameters. */
import { native } from '../../../bindings/load.js';
import { sizeOf, type UpdateRule } from './rule.js';

export interface AdamOptions {
  /** Decay of the running means of the gradient and of its square. */
  betas: readonly [number, number];
  /** Added to the denominator. */
  epsilon: number;
}

/** @param decayInGradient Adam's weight decay in place of the decoupled one. */
export function adamw({ betas: [beta1, beta2], epsilon }: AdamOptions, decayInGradient = false): UpdateRule {
  return {
    packs: true,
    arrays: (shape) => ({ firstMoment: sizeOf(shape), secondMoment: sizeOf(shape) }),
    apply(updates, gradientScale) {
      const tensors = updates.map((update) => ({
        parameter: update.parameter,
        gradient: update.gradient,
        gradientRows: update.gradientRows,
        columns: update.columns,
        firstMoment: update.state.firstMoment!,
        secondMoment: update.state.secondMoment!,
        learningRate: update.learningRate,
        weightDecay: update.weightDecay,
        step: update.step,
        mask: update.mask,
        packed: update.packed,
      }));
      native.adamw(tensors, { beta1, beta2, epsilon, gradientScale, decayInGradient });
    },
  };
}
