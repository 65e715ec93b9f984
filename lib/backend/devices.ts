/** Where training runs: whittle's own kernels on the CPU, or another TensorFlow.js backend that is installed. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { WhittleError } from '../../bindings/errors.js';
import { useWhittleBackend } from './register.js';
import { backendName } from './whittle-backend.js';

/**
 * - `cpu`: whittle's native kernels.
 * - `tensorflow`: libtensorflow, on an NVIDIA GPU with `@tensorflow/tfjs-node-gpu`, else with `@tensorflow/tfjs-node`.
 * - `wasm`: `@tensorflow/tfjs-backend-wasm`. `javascript`: TensorFlow.js's pure JavaScript. Both are for checks.
 */
export const trainingDevices = ['cpu', 'tensorflow', 'wasm', 'javascript'] as const;
export type TrainingDevice = (typeof trainingDevices)[number];

/** A device that is ready. */
export interface OpenDevice {
  /** Its TensorFlow.js backend. */
  backend: string;
  /** What the device came to, for records: `tensorflow: @tensorflow/tfjs-node-gpu on a GPU`. */
  description: string;
}

/**
 * Loads what the device needs and makes it TensorFlow.js's current backend. Optional packages are looked for where
 * whittle is installed, then in the current folder.
 *
 * @throws WhittleError `UNSUPPORTED` if its package is missing or does not load, with what to run.
 * @example
 * const { backend, description } = await openDevice('tensorflow');
 * console.log(description); // 'tensorflow: @tensorflow/tfjs-node on the CPU'
 */
export async function openDevice(device: TrainingDevice): Promise<OpenDevice> {
  // Its gradients are those of every backend.
  useWhittleBackend();
  if (device === 'cpu') return { backend: backendName, description: device };
  if (device === 'javascript') {
    await tf.setBackend('cpu');
    // Its first tensor would greet users with an advertisement for another backend.
    (tf.backend() as unknown as { firstUse: boolean }).firstUse = false;
    return { backend: 'cpu', description: device };
  }
  const packages = packagesOf[device];
  const found = packages.find((name) => loadPackage(device, name));
  if (!found)
    throw new WhittleError(
      'UNSUPPORTED',
      `device "${device}": expected the package ${packages.join(' or ')} but ${packages.length > 1 ? 'neither' : 'it'} is installed; run npm install ${packages[0]}@${version}`,
    );
  await tf.setBackend(device);
  if (device === 'wasm') return { backend: device, description: device };
  const { isUsingGpuDevice } = tf.backend() as unknown as { isUsingGpuDevice?: boolean };
  return { backend: device, description: `${device}: ${found} on ${isUsingGpuDevice ? 'a GPU' : 'the CPU'}` };
}

/** In the order that they are looked for. */
const packagesOf = {
  tensorflow: ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'],
  wasm: ['@tensorflow/tfjs-backend-wasm'],
} as const;

/** Of TensorFlow.js: the one that whittle is built on. */
const version = '4.22.0';

/** Loads a package, which registers its backend; false if it is not installed. */
function loadPackage(device: TrainingDevice, name: string): boolean {
  for (const place of [import.meta.url, join(process.cwd(), 'package.json')]) {
    const require = createRequire(place);
    let file: string;
    try {
      file = require.resolve(name);
    } catch {
      continue;
    }
    try {
      // A copy of TensorFlow.js beside whittle's would warn of every kernel that is registered already.
      tf.env().set('PROD', true);
      require(file);
      return true;
    } catch (error) {
      const reason = String((error as Error).message)
        .split('\n')[0]!
        .replace(/[\s.]+$/, '');
      throw new WhittleError(
        'UNSUPPORTED',
        `device "${device}": ${name} is installed (${file}) but does not load: ${reason}; run npm rebuild ${name}, which downloads its binary, or see docs/training-on-a-gpu.md`,
        { cause: error },
      );
    } finally {
      tf.env().set('PROD', false);
    }
  }
  return false;
}
