/**
 * One update of all parameters of MiniLM-L6's layers (10.6 million) beside PyTorch: `npm run bench -- optimizers [adamw]
 * [adam] [sgd] [adafactor] [lion] [ema] [clip-by-value]`, all by default. Milliseconds, so less is better.
 *
 * PyTorch takes part with the forms of each optimizer that it has, `fused` and `foreach`; it has no Lion, whose peer is written
 * with its `torch._foreach` operations. `ema` is the moving average of the weights, `clip-by-value` cuts the gradients.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { row, round, type Benchmark, type BenchmarkOptions, type Row } from './benchmark.js';
import { contest, type Contestant } from './harness/contest.js';

const here = dirname(fileURLToPath(import.meta.url));
const [layers, hidden, intermediate] = [6, 384, 1536];

/** What both sides update; contestants read it from a file. */
export interface Work {
  kind: Kind;
  shapes: number[][];
}

export type Kind = 'adamw' | 'adam' | 'sgd' | 'adafactor' | 'lion' | 'ema' | 'clip-by-value';

interface Entry {
  title: string;
  /** PyTorch's forms of it. */
  forms: readonly ('fused' | 'foreach')[];
  /** Least reads and writes of memory an element, in floats. */
  floats: number;
}

const kinds: Record<Kind, Entry> = {
  adamw: { title: 'AdamW', forms: ['fused', 'foreach'], floats: 7 },
  adam: { title: 'Adam, weight decay in the gradient', forms: ['fused', 'foreach'], floats: 7 },
  sgd: { title: 'SGD with momentum', forms: ['fused', 'foreach'], floats: 5 },
  adafactor: { title: 'Adafactor', forms: ['foreach'], floats: 3 },
  lion: { title: 'Lion', forms: ['foreach'], floats: 5 },
  ema: { title: 'moving average of the weights', forms: ['foreach'], floats: 3 },
  'clip-by-value': { title: 'clipping by value', forms: ['foreach'], floats: 2 },
};

export const benchmark: Benchmark = {
  summary: 'one update of 10.6 million parameters by each optimizer, milliseconds, beside PyTorch',
  async run(options) {
    for (const name of options.args)
      if (!(name in kinds)) throw new Error(`Expected one of ${Object.keys(kinds).join(', ')} but found ${name}`);
    if (!options.python) console.log('SKIPPED: PyTorch, since no Python was given (--python FILE)');
    const rows: Row[] = [];
    const gigabytesPerSecond: Record<string, number> = {};
    for (const kind of (options.args.length ? options.args : Object.keys(kinds)) as Kind[]) {
      const { title, floats } = kinds[kind];
      const found = await compare(kind, options);
      rows.push(found);
      const count = shapes().reduce((sum, shape) => sum + shape.reduce((product, length) => product * length, 1), 0);
      gigabytesPerSecond[title] = round((4 * floats * count) / found.whittle / 1e6);
    }
    return { rows, notes: { gigabytesPerSecond } };
  },
};

async function compare(kind: Kind, { python, cpus }: BenchmarkOptions): Promise<Row> {
  const { title, forms } = kinds[kind];
  const folder = mkdtempSync(join(tmpdir(), 'whittle-bench-'));
  try {
    const file = join(folder, 'work.json');
    writeFileSync(file, JSON.stringify({ kind, shapes: shapes() } satisfies Work));
    const contestants: Contestant[] = [
      {
        name: 'whittle',
        command: process.execPath,
        args: ['--import', 'tsx', join(here, 'optimizers', 'contestant.ts'), file],
      },
    ];
    for (const form of python ? forms : [])
      contestants.push({
        name: `PyTorch ${form}`,
        command: python!,
        args: [join(here, 'optimizers', 'contestant.py'), file, form, String(cpus.length)],
      });
    const updatesPerSecond = await contest(contestants, { cpus, turns: 5 });
    const { whittle, ...peers } = Object.fromEntries(
      Object.entries(updatesPerSecond).map(([name, value]) => [name, round(1000 / value)]),
    );
    return row({ work: `${title}, one update of MiniLM-L6's layers`, unit: 'ms', whittle: whittle!, peers });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function shapes(): number[][] {
  const square = [[hidden, hidden], [hidden]];
  const layer = [
    ...[...square, ...square, ...square, ...square],
    ...[[intermediate, hidden], [intermediate], [hidden, intermediate], [hidden]],
    ...[[hidden], [hidden], [hidden], [hidden]],
  ];
  return Array.from({ length: layers }, () => layer).flat();
}
