/** Dropout of the composite form of the encoder and of heads, with the masks of the fused kernels. */
import * as tf from '@tensorflow/tfjs-core';
import { native } from '../../bindings/load.js';
import type { DropoutSpec } from '../../bindings/native.js';
import { nativeDropout } from '../backend/fused-kernels.js';
import { backendName } from '../backend/whittle-backend.js';

/** Of hidden states `x` `[rows, hidden]` of the tokens `rows`. */
export function dropRows(x: tf.Tensor2D, rows: Int32Array, spec: DropoutSpec): tf.Tensor2D {
  if (spec.rate === 0) return x;
  const keep = new Uint8Array(x.size);
  const scale = native.dropoutKeepRows(spec, rows, x.shape[1], keep);
  return kept(x, keep, scale);
}

/** Of attention probabilities `[sequences, heads, longest, longest]` with `offsets` `[sequences + 1]`. */
export function dropProbabilities(probabilities: tf.Tensor4D, offsets: Int32Array, spec: DropoutSpec): tf.Tensor4D {
  if (spec.rate === 0) return probabilities;
  const [, heads, longest] = probabilities.shape;
  const keep = new Uint8Array(probabilities.size);
  const scale = native.dropoutKeepProbabilities(spec, offsets, heads, longest, keep);
  return kept(probabilities, keep, scale);
}

/** Of what a head reads, `x` `[rows, width]`. */
export function dropFeatures(x: tf.Tensor2D, spec: DropoutSpec): tf.Tensor2D {
  if (spec.rate === 0) return x;
  if (tf.getBackend() === backendName) return nativeDropout(x, spec);
  return dropRows(
    x,
    Int32Array.from({ length: x.shape[0] }, (_, row) => row),
    spec,
  );
}

/** The mask goes to the backend as bytes. */
function kept<T extends tf.Tensor>(x: T, keep: Uint8Array, scale: number): T {
  const mask = tf.cast(tf.tensor(keep, x.shape, 'bool'), 'float32');
  return tf.mul(tf.mul(x, scale), mask) as T;
}
