/**
 * Tokens/s of training beside PyTorch: `npm run bench -- train [32x128] [banking77] [conll2003]`, all by default.
 * Every contestant takes whole optimizer steps (forward, backward, clipping, AdamW) at batch 32 with dropout.
 * Padding is not counted: both sides are credited with the tokens of the texts.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Example } from '../lib/data/batch.js';
import type { Task } from '../lib/data/dataset.js';
import { encodeRows } from '../lib/data/encode.js';
import { loadDataset } from '../lib/data/load.js';
import { loadTokenizer } from '../lib/data/tokenizer/tokenizer.js';
import { row, round, type Benchmark, type BenchmarkOptions, type Row } from './benchmark.js';
import { contest, type Contestant } from './harness/contest.js';

const here = dirname(fileURLToPath(import.meta.url));
const works = ['32x128', 'banking77', 'conll2003'];

/** What both sides train on; contestants read it from a file. */
export interface Work {
  model: string;
  task: Task;
  labels: string[];
  examples: { inputIds: number[]; label?: number; tokenLabels?: number[] }[];
}

export const benchmark: Benchmark = {
  summary: 'tokens/s of training MiniLM-L6, beside PyTorch (bf16 autocast, float32)',
  async run(options) {
    const rows: Row[] = [];
    for (const name of options.args.length ? options.args : works) rows.push(...(await compare(name, options)));
    return { rows };
  },
};

async function compare(name: string, options: BenchmarkOptions): Promise<Row[]> {
  if (!works.includes(name)) throw new Error(`Expected one of ${works.join(', ')} but found ${name}`);
  const folder = mkdtempSync(join(tmpdir(), 'whittle-bench-'));
  try {
    const file = join(folder, 'work.json');
    writeFileSync(file, JSON.stringify(await makeWork(name, options.shared)));
    const precisions = ['bfloat16', 'float32'];
    const contestants: Contestant[] = precisions.map((precision) => ({
      name: `whittle ${precision}`,
      command: process.execPath,
      args: ['--import', 'tsx', join(here, 'train', 'contestant.ts'), file, precision],
    }));
    if (options.python)
      for (const precision of precisions)
        contestants.push({
          name: `PyTorch ${precision}`,
          command: options.python,
          args: [join(here, 'train', 'contestant.py'), file, precision, String(options.cpus.length)],
        });
    else console.log('SKIPPED: PyTorch, since no Python was given (--python FILE)');
    const speeds = await contest(contestants, { cpus: options.cpus, turns: 3 });
    const peers = (wanted: RegExp) =>
      Object.fromEntries(Object.entries(speeds).flatMap(([peer, v]) => (wanted.test(peer) ? [[peer, round(v)]] : [])));
    const work = `MiniLM-L6, ${name === '32x128' ? name : `${name}, batch 32`}, training`;
    return [
      row({ work, unit: 'tokens/s', whittle: round(speeds['whittle bfloat16']!), peers: peers(/^PyTorch/) }),
      row({
        work: `${work}, float32 on both sides`,
        unit: 'tokens/s',
        whittle: round(speeds['whittle float32']!),
        peers: peers(/^PyTorch float32/),
      }),
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function makeWork(name: string, shared: string): Promise<Work> {
  const model = join(shared, 'models', 'minilm-l6');
  if (name === '32x128') {
    const inputIds = Array.from({ length: 128 }, (_, at) => 1000 + ((at * 7919) % 20000));
    const examples = Array.from({ length: 128 }, (_, row) => ({
      inputIds: inputIds.map((id) => id + row),
      label: row % 2,
    }));
    return { model, task: 'text-classification', labels: ['a', 'b'], examples };
  }
  const data = await loadDataset({ path: join(shared, 'data', name), limit: { train: 1024 } });
  const tokenizer = await loadTokenizer(model);
  const encoded = encodeRows(data.train.rows, data.task, { tokenizer, labels: data.labels, maxLength: 128 });
  const examples = encoded.examples.map(({ inputIds, label, tokenLabels }: Example) => ({
    inputIds: [...inputIds],
    ...(label !== undefined && { label }),
    ...(tokenLabels && { tokenLabels: [...tokenLabels] }),
  }));
  return { model, task: data.task, labels: data.labels, examples };
}
