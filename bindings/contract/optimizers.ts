/** The optimizers beside AdamW, and what else goes over all parameters in a training step: native/addon/optimizer_glue.cc. */

/** One parameter in one update; all arrays of one length. */
export interface OptimizedTensor {
  /** Changed in place. */
  parameter: Float32Array;
  /** Before `gradientScale`. */
  gradient: Float32Array;
  learningRate: number;
  weightDecay: number;
  /** Where it is 0, the parameter is held at 0. */
  mask?: Uint8Array | undefined;
}

export interface SgdTensor extends OptimizedTensor {
  /** Zeros at the first update. Not looked at without momentum. */
  velocity?: Float32Array;
}

export interface LionTensor extends OptimizedTensor {
  /** Zeros at the first update. */
  momentum: Float32Array;
}

/** With the second moment element by element, or as the means of the parameter's rows and columns. */
export type AdafactorTensor = OptimizedTensor & {
  /** Updates of this parameter so far, this one included: 1 at the first. */
  step: number;
} & (
    | { /** Zeros at the first update. */ variance: Float32Array }
    | {
        /** `[rows]`, zeros at the first update; rows * columns is the parameter's length. */
        rowMeans: Float32Array;
        /** `[columns]`. */
        columnMeans: Float32Array;
      }
  );

/**
 * All synchronous, on the native thread pool; results do not depend on the number of threads. Arrays may be views;
 * but for the gradients of clipByValue, none may overlap another.
 */
export interface OptimizerBinding {
  /** One step of gradient descent, in the form of torch.optim.SGD; the weight decay is part of the gradient. */
  sgd(tensors: readonly SgdTensor[], options: { momentum: number; nesterov: boolean; gradientScale: number }): void;
  /** One step of Lion (Chen et al. 2023); the weight decay is decoupled. */
  lion(tensors: readonly LionTensor[], options: { beta1: number; beta2: number; gradientScale: number }): void;
  /**
   * One step of Adafactor (Shazeer and Stern 2018), in the form of torch.optim.Adafactor: the decay of the second moment
   * is 1 - step^beta2Decay, a parameter counts as having a root mean square of at least `epsilon`, and an update one of
   * at most `clipThreshold`. The weight decay is decoupled.
   */
  adafactor(
    tensors: readonly AdafactorTensor[],
    options: { beta2Decay: number; clipThreshold: number; epsilon: number; gradientScale: number },
  ): void;
  /** average += share * (values - average). */
  movingAverage(tensors: readonly { average: Float32Array; values: Float32Array }[], share: number): void;
  /** Cuts each element of the gradients to within `limit` of 0; the same array may be there twice. */
  clipByValue(tensors: readonly { gradient: Float32Array }[], limit: number): void;
}
