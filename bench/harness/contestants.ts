/** Who takes part in the inference benchmarks, and how each is started. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Contestant } from './contest.js';

const peers = join(dirname(fileURLToPath(import.meta.url)), '..', 'peers');

export function whittleContestant(checkpoint: string, args: string[]): Contestant {
  const script = join(peers, 'whittle.ts');
  return { name: 'whittle', command: process.execPath, args: ['--import', 'tsx', script, checkpoint, ...args] };
}

/** `name` in results, and the arguments after the model: see peers/onnxruntime.mjs. */
export function onnxRuntimeContestant(model: string, args: string[]): Contestant {
  const script = join(peers, 'onnxruntime.mjs');
  return { name: 'onnxruntime-node int8', command: process.execPath, args: [script, model, ...args] };
}
