/** Registers the backend `whittle`: importing this file is enough, using it takes a call. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import './fused-kernels.js';
import { registerGradients } from './gradients.js';
import { overrideKernels } from './native-kernels.js';
import { backendName, WhittleBackend } from './whittle-backend.js';

tf.copyRegisteredKernels('cpu', backendName);
overrideKernels();
registerGradients();
tf.registerBackend(backendName, () => new WhittleBackend(), 0);

/**
 * Makes `whittle` TensorFlow.js's current backend and returns it.
 *
 * @example
 * useWhittleBackend();
 * tf.matMul(tf.ones([2, 3]), tf.ones([3, 2])).print();
 */
export function useWhittleBackend(): WhittleBackend {
  tf.setBackend(backendName);
  return tf.backend() as unknown as WhittleBackend;
}
