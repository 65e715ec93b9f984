/**
 * Adafactor (Shazeer and Stern 2018), in the form of torch.optim.Adafactor: the second moment of a matrix is kept as the
 * means of its rows and columns, which takes almost no memory. One native call for all parameters.
 */
import type { AdafactorTensor } from '../../../bindings/native.js';
import { native } from '../../../bindings/load.js';
import { sizeOf, type UpdateRule } from './rule.js';

export interface AdafactorOptions {
  /** The decay of the second moment is 1 - step^beta2Decay. */
  beta2Decay: number;
  /** An update whose root mean square is above it is scaled down to it. */
  clipThreshold: number;
  /** Least root mean square that a parameter is taken to have; steps are in proportion to it. */
  epsilon: number;
}

export function adafactor(options: AdafactorOptions): UpdateRule {
  return {
    arrays(shape): Record<string, number> {
      if (shape.length < 2) return { variance: sizeOf(shape) };
      const columns = shape.at(-1)!;
      return { rowMeans: sizeOf(shape) / columns, columnMeans: columns };
    },
    apply(updates, gradientScale) {
      const tensors = updates.map(({ state, ...update }): AdafactorTensor => {
        const { variance, rowMeans, columnMeans } = state;
        return variance ? { ...update, variance } : { ...update, rowMeans: rowMeans!, columnMeans: columnMeans! };
      });
      native.adafactor(tensors, { ...options, gradientScale });
    },
  };
}
