/** Stochastic gradient descent with momentum (Sutskever et al. 2013), in the form of torch.optim.SGD. */
import { holdMasked, sizeOf, type UpdateRule } from './rule.js';

export interface SgdOptions {
  /** Part of the last step's velocity that is kept; 0 is plain gradient descent. */
  momentum: number;
  /** Looks ahead along the velocity. */
  nesterov: boolean;
}

export function sgd({ momentum, nesterov }: SgdOptions): UpdateRule {
  return {
    arrays: (shape): Record<string, number> => (momentum > 0 ? { velocity: sizeOf(shape) } : {}),
    apply(updates, gradientScale) {
      for (const update of updates) {
        const { parameter, gradient, learningRate, weightDecay, step } = update;
        const velocity = update.state.velocity;
        const kept = step === 1 ? 0 : momentum;
        for (let at = 0; at < parameter.length; at++) {
          let change = gradient[at]! * gradientScale + weightDecay * parameter[at]!;
          if (velocity) {
            velocity[at] = kept * velocity[at]! + change;
            change = nesterov ? change + momentum * velocity[at]! : velocity[at]!;
          }
          parameter[at]! -= learningRate * change;
        }
        holdMasked(update);
      }
    },
  };
}
