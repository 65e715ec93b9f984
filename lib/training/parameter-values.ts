/** Reading and writing the values of a model's variables, without a copy where the backend allows it. */
import * as tf from '@tensorflow/tfjs-core';
import { backendName, type WhittleBackend } from '../backend/whittle-backend.js';

/** The values of a variable; on the backend `whittle` its own memory. Read only. */
export function valuesOf(variable: tf.Tensor): Float32Array {
  return tf.getBackend() === backendName
    ? (tf.backend() as unknown as WhittleBackend).valuesOf(variable)
    : (variable.dataSync() as Float32Array);
}

/** The rows of a gradient on the backend `whittle` that may not be zero; undefined: any of them. */
export function nonzeroRows(gradient: tf.Tensor): Int32Array | undefined {
  return (tf.backend() as unknown as WhittleBackend).rowsOf(gradient);
}

/** Gives a variable a copy of these values. */
export function assignValues(variable: tf.Variable, values: Float32Array): void {
  if (values.length !== variable.size)
    throw new Error(`${variable.name} has ${variable.size} values, but ${values.length} were given`);
  const tensor = tf.tensor(values.slice(), variable.shape);
  variable.assign(tensor);
  tensor.dispose();
}
