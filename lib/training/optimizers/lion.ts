/** Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", program 1). */
import { holdMasked, sizeOf, type UpdateRule } from './rule.js';

export interface LionOptions {
  /** The first mixes momentum and gradient for the step, the second for the momentum that is kept. */
  betas: readonly [number, number];
}

/** Every element moves by the learning rate, in the direction of the sign; the decay is decoupled. */
export function lion({ betas: [beta1, beta2] }: LionOptions): UpdateRule {
  return {
    arrays: (shape) => ({ momentum: sizeOf(shape) }),
    apply(updates, gradientScale) {
      for (const update of updates) {
        const { parameter, gradient, learningRate, weightDecay } = update;
        const momentum = update.state.momentum!;
        const kept = 1 - learningRate * weightDecay;
        for (let at = 0; at < parameter.length; at++) {
          const g = gradient[at]! * gradientScale;
          const m = momentum[at]!;
          const direction = beta1 * m + (1 - beta1) * g;
          // The quotient is the sign: a branch on it could not be predicted, and Math.sign is four times slower.
          const sign = direction === 0 ? 0 : direction / Math.abs(direction);
          parameter[at] = kept * parameter[at]! - learningRate * sign;
          momentum[at] = beta2 * m + (1 - beta2) * g;
        }
        holdMasked(update);
      }
    },
  };
}
