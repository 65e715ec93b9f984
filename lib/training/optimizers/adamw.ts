/** AdamW (Loshchilov and Hutter 2019): Adam with decoupled weight decay, one native call for all parameters. */
import { native } from '../../../bindings/load.js';
import { sizeOf, type UpdateRule } from './rule.js';

export interface AdamOptions {
  /** Decay of the running means of the gradient and of its square. */
  betas: readonly [number, number];
  /** Added to the denominator. */
  epsilon: number;
}

export function adamw({ betas: [beta1, beta2], epsilon }: AdamOptions): UpdateRule {
  return {
    arrays: (shape) => ({ firstMoment: sizeOf(shape), secondMoment: sizeOf(shape) }),
    apply(updates, gradientScale) {
      const tensors = updates.map(({ parameter, gradient, state, learningRate, weightDecay, step, mask }) => ({
        ...{ parameter, gradient, learningRate, weightDecay, step },
        ...{ firstMoment: state.firstMoment!, secondMoment: state.secondMoment! },
        ...(mask && { mask }),
      }));
      native.adamw(tensors, { beta1, beta2, epsilon, gradientScale });
    },
  };
}
