/**
 * Training beside PyTorch, tokens/s and peak memory: `npm run bench -- train [32x128] [bert-base] [conll2003]
 * [banking77] [recompute] [quickstart]`, all by default.
 *
 * Every contestant takes whole optimizer steps (forward, backward, clipping, AdamW) with dropout. PyTorch groups rows by
 * length, as Transformers' group_by_length does, and pads each batch to its longest row; both sides are credited with
 * the tokens of the texts. `conll2003` is one whole epoch, the others a few steps a turn. `recompute` trains BERT-base
 * on 32 x 512 with `recompute: true`, for its memory; `quickstart` is `npm start` once built.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
const peakProgram = join(here, '..', 'build', 'Release', 'whittle_training_bench');

/** What both sides train on; contestants read it from a file. */
export interface Work {
  /** Checkpoint folder, or one with a config.json alone, whose weights are then random. */
  model: string;
  task: Task;
  labels: string[];
  examples: { inputIds: number[]; label?: number; tokenLabels?: number[] }[];
  batchSize: number;
  stepsPerTurn: number;
  /** Steps before the first turn. */
  warmupSteps: number;
  recompute?: boolean;
}

interface WorkKind {
  title: string;
  turns: number;
  precisions: readonly string[];
  peers: boolean;
  make(options: BenchmarkOptions, folder: string): Promise<Work> | Work;
}

const both = ['bfloat16', 'float32'] as const;
const kinds: Record<string, WorkKind> = {
  '32x128': {
    ...{ title: 'MiniLM-L6, 32x128, training', turns: 3, precisions: both, peers: true },
    make: ({ shared }) => ({
      ...fixedLength(join(shared, 'models', 'minilm-l6'), 32, 128, 20_000),
      ...{ stepsPerTurn: 3, warmupSteps: 3 },
    }),
  },
  'bert-base': {
    ...{ title: 'BERT-base, random weights, 16x128, training', turns: 3, precisions: both, peers: true },
    make: (_, folder) => ({
      ...fixedLength(bertBase(folder), 16, 128, 20_000),
      ...{ stepsPerTurn: 4, warmupSteps: 2 },
    }),
  },
  conll2003: {
    ...{ title: 'MiniLM-L6, one epoch of CoNLL-2003, batch 32', turns: 1, precisions: both, peers: true },
    make: async ({ shared }) => {
      const work = await realLengths(shared, 'conll2003');
      return { ...work, stepsPerTurn: Math.ceil(work.examples.length / work.batchSize) };
    },
  },
  banking77: {
    ...{ title: 'MiniLM-L6, Banking77 lengths, batch 32, training', turns: 3, precisions: both, peers: true },
    make: ({ shared }) => realLengths(shared, 'banking77', 1024),
  },
  recompute: {
    ...{ title: 'BERT-base, random weights, 32x512, recompute', turns: 1, precisions: ['bfloat16'], peers: false },
    make: (_, folder) => ({
      ...fixedLength(bertBase(folder), 32, 512, 20_000),
      ...{ stepsPerTurn: 1, warmupSteps: 1, recompute: true },
    }),
  },
};
const names = [...Object.keys(kinds), 'quickstart'];

export const benchmark: Benchmark = {
  summary: 'training beside PyTorch: tokens/s, peak memory; the time of `npm start`',
  async run(options) {
    const rows: Row[] = [];
    for (const name of options.args.length ? options.args : names) {
      if (name !== 'quickstart' && !kinds[name])
        throw new Error(`Expected one of ${names.join(', ')} but found ${name}`);
      rows.push(...(name === 'quickstart' ? [quickStart(options)] : await compare(kinds[name]!, options)));
    }
    return { rows };
  },
};

async function compare(kind: WorkKind, options: BenchmarkOptions): Promise<Row[]> {
  const { title, precisions } = kind;
  const folder = mkdtempSync(join(tmpdir(), 'whittle-bench-'));
  try {
    const file = join(folder, 'work.json');
    const work = await kind.make(options, folder);
    writeFileSync(file, JSON.stringify(work));
    const contestants: Contestant[] = precisions.map((precision) => ({
      name: `whittle ${precision}`,
      command: process.execPath,
      args: ['--import', 'tsx', join(here, 'train', 'contestant.ts'), file, precision],
    }));
    const threads = String(options.cpus.length);
    for (const precision of kind.peers && options.python ? precisions : [])
      contestants.push({
        name: `PyTorch ${precision}`,
        command: options.python!,
        args: [join(here, 'train', 'contestant.py'), file, precision, threads],
      });
    if (kind.peers && !options.python) console.log('SKIPPED: PyTorch, since no Python was given (--python FILE)');
    for (const precision of existsSync(peakProgram) ? precisions : [])
      contestants.push({
        name: `peak ${precision}`,
        command: peakProgram,
        args: ['--peak', precision, '--threads', threads],
      });
    const megabytes: Record<string, number> = {};
    const speeds = await contest(contestants, {
      ...{ cpus: options.cpus, turns: kind.turns },
      onPeakMemory: (name, bytes) => (megabytes[name] = bytes / 2 ** 20),
    });
    const pick = (values: Record<string, number>, wanted: RegExp) =>
      Object.fromEntries(Object.entries(values).flatMap(([peer, v]) => (wanted.test(peer) ? [[peer, round(v)]] : [])));
    const operations = operationsPerToken(work);
    const speed = (precision: string, peers: RegExp, suffix = '') => {
      const whittle = speeds[`whittle ${precision}`]!;
      const peak = speeds[`peak ${precision}`];
      return row({
        ...{ work: `${title}${suffix}`, unit: 'tokens/s', whittle: round(whittle), peers: pick(speeds, peers) },
        ...(peak && { shareOfPeak: round((whittle * operations) / peak) }),
      });
    };
    return [
      speed(precisions[0]!, /^PyTorch/),
      ...(precisions.length > 1 ? [speed('float32', /^PyTorch float32/, ', float32 on both sides')] : []),
      row({
        ...{ work: `${title}, peak memory`, unit: 'MB', whittle: round(megabytes[`whittle ${precisions[0]!}`]!) },
        peers: pick(megabytes, /^PyTorch/),
      }),
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `npm start` in a folder of its own, from the first line of output to the last. */
function quickStart({ cpus }: BenchmarkOptions): Row {
  const folder = mkdtempSync(join(tmpdir(), 'whittle-bench-'));
  try {
    const script = join(here, '..', 'scripts', 'quickstart.ts');
    const started = performance.now();
    const args = ['-c', cpus.join(','), process.execPath, '--import', 'tsx', script, folder];
    const { status, stderr } = spawnSync('taskset', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`The quick start failed:\n${stderr}`);
    const seconds = (performance.now() - started) / 1000;
    return row({ work: 'npm start, once built', unit: 's', whittle: round(seconds), peers: {} });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Of the layers' products, forward and backward; the mean over the examples. */
function operationsPerToken({ model, examples }: Work): number {
  const config = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8')) as Record<string, number>;
  const hidden = config.hidden_size!;
  const lengths = examples.map(({ inputIds }) => inputIds.length);
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const attended = lengths.reduce((sum, length) => sum + length * length, 0) / tokens;
  const forward = 2 * hidden * (4 * hidden + 2 * config.intermediate_size!) + 4 * hidden * attended;
  return 3 * config.num_hidden_layers! * forward;
}

type Examples = Pick<Work, 'model' | 'task' | 'labels' | 'examples' | 'batchSize'>;

/** Four batches of made-up rows of one length. */
function fixedLength(model: string, batchSize: number, length: number, words: number): Examples {
  const inputIds = Array.from({ length }, (_, at) => 1000 + ((at * 7919) % words));
  const examples = Array.from({ length: 4 * batchSize }, (_, row) => ({
    inputIds: inputIds.map((id) => id + row),
    label: row % 2,
  }));
  return { model, task: 'text-classification', labels: ['a', 'b'], examples, batchSize };
}

async function realLengths(shared: string, name: string, limit?: number): Promise<Work> {
  const model = join(shared, 'models', 'minilm-l6');
  const data = await loadDataset({ path: join(shared, 'data', name), ...(limit && { limit: { train: limit } }) });
  const tokenizer = await loadTokenizer(model);
  const encoded = encodeRows(data.train.rows, data.task, { tokenizer, labels: data.labels, maxLength: 128 });
  const examples = encoded.examples.map(({ inputIds, label, tokenLabels }: Example) => ({
    inputIds: [...inputIds],
    ...(label !== undefined && { label }),
    ...(tokenLabels && { tokenLabels: [...tokenLabels] }),
  }));
  return { model, task: data.task, labels: data.labels, examples, batchSize: 32, stepsPerTurn: 10, warmupSteps: 10 };
}

/** A folder with the configuration of bert-base-uncased. */
function bertBase(folder: string): string {
  const config = {
    ...{ model_type: 'bert', vocab_size: 30522, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12 },
    ...{ intermediate_size: 3072, hidden_act: 'gelu', max_position_embeddings: 512, type_vocab_size: 2 },
    ...{ hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.1, layer_norm_eps: 1e-12, pad_token_id: 0 },
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return folder;
}
