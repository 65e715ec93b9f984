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
import { createInterface } from 'node:readline';
import { round, type Benchmark, type Row } from './benchmark.js';
import { kernelBench } from './harness/peak.js';
import { pinned } from './harness/pinned.js';

export const benchmark: Benchmark = {
  summary: "products of the native core as shares of the machine's peak",
  async run({ args, cpus }) {
    if (!existsSync(kernelBench)) throw new Error(`Expected ${kernelBench}, built by npm run setup, but it is missing`);
    const child = spawn(...pinned(cpus, kernelBench, ['--threads', String(cpus.length), ...args]), {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise<void>((done, fail) => {
      child.on('error', fail);
      child.on('close', (code) =>
        code === 0 ? done() : fail(new Error(`${kernelBench} ended with exit code ${code}`)),
      );
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
