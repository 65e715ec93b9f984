/** Losses over plain arrays, with their gradients, as operations that TensorFlow.js can differentiate. */
import * as tf from '@tensorflow/tfjs-core';
import { valuesOf } from '../parameter-values.js';

/** A loss and its gradient with respect to the logits, as long as they are. */
export interface LossAndGradient {
  loss: number;
  gradient: Float32Array;
}

/**
 * The loss that `compute` gives for these logits, on any backend. Its gradient is that which `compute` gives.
 *
 * @example
 * const half = differentiable(logits, (values) => ({ loss: values[0]! / 2, gradient: Float32Array.of(0.5) }));
 */
export function differentiable(logits: tf.Tensor2D, compute: (values: Float32Array) => LossAndGradient): tf.Scalar {
  const operation = tf.customGrad((input) => {
    const { loss, gradient } = compute(valuesOf(input as tf.Tensor));
    return {
      value: tf.scalar(loss),
      gradFunc: (dy: tf.Tensor) => {
        const scale = dy.dataSync()[0]!;
        return tf.tensor(scale === 1 ? gradient : gradient.map((value) => value * scale), logits.shape);
      },
    };
  });
  return operation(logits) as tf.Scalar;
}

/** log(softmax(logits)) of one row in double precision, into `result`. */
export function logSoftmaxRow(logits: Float32Array, row: number, result: Float64Array): void {
  const classes = result.length;
  const start = row * classes;
  let largest = -Infinity;
  for (let c = 0; c < classes; c++) largest = Math.max(largest, logits[start + c]!);
  let sum = 0;
  for (let c = 0; c < classes; c++) sum += Math.exp(logits[start + c]! - largest);
  const logSum = Math.log(sum) + largest;
  for (let c = 0; c < classes; c++) result[c] = logits[start + c]! - logSum;
}
