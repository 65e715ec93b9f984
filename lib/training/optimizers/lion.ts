/** Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", program 1), one native call for all parameters. */
import { native } from '../../../bindings/load.js';
import { sizeOf, type UpdateRule } from './rule.js';

export interface LionOptions {
  /** The first mixes momentum and gradient for the step, the second for the momentum that is kept. */
  betas: readonly [number, number];
}

/** Every element moves by the learning rate, in the direction of the sign; the decay is decoupled. */
export function lion({ betas: [beta1, beta2] }: LionOptions): UpdateRule {
  return {
    arrays: (shape) => ({ momentum: sizeOf(shape) }),
    apply(updates, gradientScale) {
      const tensors = updates.map((update) => ({ ...update, momentum: update.state.momentum! }));
      native.lion(tensors, { beta1, beta2, gradientScale });
    },
  };
}
