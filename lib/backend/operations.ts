/** Operations that have a native kernel on the backend `whittle` and are composed of ordinary ones on any other. */
import * as tf from '@tensorflow/tfjs-core';
import { nativeCrossEntropy, nativeGelu, nativeLayerNorm } from './fused-kernels.js';
import { backendName } from './whittle-backend.js';

const isNative = () => tf.getBackend() === backendName;

/**
 * LayerNorm over the last axis (Ba, Kiros and Hinton 2016), with gradients for x, gamma and beta.
 *
 * @example
 * layerNorm(tf.tensor2d([[1, 3]]), tf.ones([2]), tf.zeros([2]), 1e-12).arraySync(); // [[-1, 1]]
 */
export function layerNorm(x: tf.Tensor, gamma: tf.Tensor1D, beta: tf.Tensor1D, epsilon: number): tf.Tensor {
  if (isNative()) return nativeLayerNorm(x, gamma, beta, epsilon);
  const centered = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.mean(tf.square(centered), -1, true);
  return tf.add(tf.mul(tf.mul(centered, tf.rsqrt(tf.add(variance, epsilon))), gamma), beta);
}

/** GELU in its erf form, x (1 + erf(x / sqrt 2)) / 2 (Hendrycks and Gimpel 2016). */
export function gelu(x: tf.Tensor): tf.Tensor {
  if (isNative()) return nativeGelu(x);
  return tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2))));
}

/**
 * Mean cross-entropy of softmax(logits) `[rows, classes]` against class ids `[rows]`; rows labelled -100 count
 * nothing, and the loss of no counted row is 0.
 *
 * @example
 * crossEntropy(tf.tensor2d([[0, 0], [5, 9]]), Int32Array.of(1, -100)).arraySync(); // ln 2
 */
export function crossEntropy(logits: tf.Tensor2D, labels: Int32Array): tf.Scalar {
  if (isNative()) return nativeCrossEntropy(logits, labels);
  const classes = logits.shape[1];
  const target = new Float32Array(labels.length * classes);
  let counted = 0;
  labels.forEach((label, row) => {
    if (label === -100) return;
    target[row * classes + label] = 1;
    counted++;
  });
  const chosen = tf.mul(tf.logSoftmax(logits), tf.tensor2d(target, [labels.length, classes]));
  return tf.div(tf.neg(tf.sum(chosen)), Math.max(1, counted));
}
