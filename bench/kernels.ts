/**
 * The products of the native core against what the same threads multiply from registers, measured in turns:
 * linear layers and general products at the shapes of MiniLM-L6 and BERT-base, in every precision of the ISA.
 *
 *   npm run bench -- kernels                          two threads on cores 0 and 1
 *   npm run bench -- kernels --cpus 2 "int8 m=128"    one thread; only work whose name contains the words
 *   npm run bench -- kernels --cpus 2 --cpu-time      counts CPU time of one thread: for a busy machine
 *   WHITTLE_ISA=avx2 npm run bench -- kernels         the kernels of a weaker ISA
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { round, type Benchmark, type Row } from './benchmark.js';

const program = join(
  resolve(dirname(fileURLToPath(import.meta.url)), '..'),
  'build',
  'Release',
  'whittle_kernel_bench',
);

export const benchmark: Benchmark = {
  summary: "products of the native core as shares of the machine's peak",
  async run({ args, cpus }) {
    if (!existsSync(program)) throw new Error(`Expected ${program}, built by npm run setup, but it is missing`);
    const child = spawn('taskset', ['-c', cpus.join(','), program, '--threads', String(cpus.length), ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise<void>((done, fail) => {
      child.on('error', fail);
      child.on('close', (code) => (code === 0 ? done() : fail(new Error(`${program} ended with exit code ${code}`))));
    });
    const rows: Row[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      const { work, unit, value, shareOfPeak } = JSON.parse(line) as Pick<Row, 'work' | 'unit' | 'shareOfPeak'> & {
        value: number;
      };
      rows.push({
        work,
        unit,
        whittle: round(value),
        peers: {},
        ...(shareOfPeak === undefined ? {} : { shareOfPeak }),
      });
    }
    await ended;
    const shares = rows.map((row) => row.shareOfPeak ?? Number.NaN).filter((share) => !Number.isNaN(share));
    return { rows, notes: { leastShareOfPeak: Math.min(...shares), isa: process.env.WHITTLE_ISA ?? 'detected' } };
  },
};
