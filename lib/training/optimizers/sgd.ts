/**
 * Stochastic gradient descent with momentum (Sutskever et al. 2013), in the form of torch.optim.SGD, one native call for
 * all parameters.
 */
import { native } from '../../../bindings/load.js';
import { sizeOf, type UpdateRule } from './rule.js';

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
      const tensors = updates.map(({ state: { velocity }, ...update }) => ({
        ...update,
        ...(velocity && { velocity }),
      }));
      native.sgd(tensors, { momentum, nesterov, gradientScale });
    },
  };
}
