/** What the machine could do. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { modelShapes, type ModelName } from './made-up-model.js';
import { pinned } from './pinned.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** Built by `npm run setup`; prints one JSON object a line. */
export const kernelBench = join(root, 'build', 'Release', 'whittle_kernel_bench');

/** Operations a second that the cores multiply from registers in int8, of the ISA in use, measured now. */
export function int8Peak(cpus: number[]): number {
  if (!existsSync(kernelBench)) throw new Error(`Expected ${kernelBench}, built by npm run setup, but it is missing`);
  // A small product that takes turns with the peak loop.
  const args = ['--threads', String(cpus.length), 'linear int8 m=128 n=384 k=384'];
  const { stdout, stderr } = spawnSync(...pinned(cpus, kernelBench, args), { encoding: 'utf8' });
  const line = stdout.trim().split('\n')[0];
  if (!line) throw new Error(`${kernelBench} printed nothing:\n${stderr}`);
  const { value, shareOfPeak } = JSON.parse(line) as { value: number; shareOfPeak: number };
  return (1e9 * value) / shareOfPeak;
}

/** Operations (multiplications and additions) of the encoder's products for sequences of these lengths, a sequence on average. */
export function operationsOf(model: ModelName, lengths: readonly number[]): number {
  const { layers, hidden, intermediate } = modelShapes[model];
  const linear = 2 * (4 * hidden * hidden + 2 * hidden * intermediate);
  const sum = lengths.reduce((total, length) => total + length * linear + 4 * length * length * hidden, 0);
  return (layers * sum) / lengths.length;
}
