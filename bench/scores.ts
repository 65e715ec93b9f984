/**
 * Test scores of plain fine-tuning of MiniLM-L6: `npm run bench -- scores [banking77] [conll2003] [sst2] [transformers]`.
 * Batch 32, AdamW, linear schedule with 10 % warm-up, the best epoch on dev. `transformers` also runs the same with
 * Transformers and PyTorch (bf16 autocast; about half an hour).
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Dataset } from '../lib/data/dataset.js';
import { loadDataset } from '../lib/data/load.js';
import { devMetricsFor } from '../lib/training/dev-metrics.js';
import { predictLogits } from '../lib/training/dev.js';
import { finetune } from '../lib/training/finetune.js';
import { openSession } from '../lib/training/session.js';
import { row, round, type Benchmark, type BenchmarkOptions, type Row } from './benchmark.js';

interface Recipe {
  metric: 'accuracy' | 'f1';
  learningRate: number;
  epochs: number;
}

const recipes: Record<string, Recipe> = {
  banking77: { metric: 'accuracy', learningRate: 2e-4, epochs: 8 },
  conll2003: { metric: 'f1', learningRate: 2e-4, epochs: 4 },
  sst2: { metric: 'accuracy', learningRate: 5e-5, epochs: 3 },
};

export const benchmark: Benchmark = {
  summary: 'test scores of fine-tuning MiniLM-L6 beside Transformers (long)',
  async run(options) {
    const withPeer = options.args.includes('transformers');
    const names = options.args.filter((name) => name !== 'transformers');
    const rows: Row[] = [];
    const notes: Record<string, unknown> = {};
    for (const name of names.length ? names : Object.keys(recipes)) {
      const recipe = recipes[name];
      if (!recipe) throw new Error(`Expected one of ${Object.keys(recipes).join(', ')} but found ${name}`);
      const { score, record } = await train(name, recipe, options.shared);
      const peers = withPeer ? { Transformers: trainPeer(name, recipe, options) } : {};
      const work = `MiniLM-L6 on ${name}, ${recipe.epochs} epochs at ${recipe.learningRate}`;
      rows.push(row({ work, unit: `test ${recipe.metric}`, whittle: score, peers }));
      notes[name] = record;
    }
    return { rows, notes };
  },
};

async function train(name: string, { metric, learningRate, epochs }: Recipe, shared: string) {
  const folder = mkdtempSync(join(tmpdir(), 'whittle-bench-'));
  try {
    const data = await loadDataset({ path: join(shared, 'data', name) });
    const earlyStopping = { metric, patience: epochs };
    const result = await finetune(
      join(shared, 'models', 'minilm-l6'),
      { stages: [{ train: 'all', epochs, learningRate, earlyStopping }] },
      {
        ...{ data, task: data.task, seed: 13, folder: join(folder, 'finetune'), checkpoints: new Map(), threads: 0 },
        log: (record) => console.log(JSON.stringify(record)),
      },
    );
    const test = await testMetrics(result.checkpoint, data);
    return { score: round(100 * test[metric]!), record: { test, dev: result.metrics, ...result.record } };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function testMetrics(folder: string, data: Dataset): Promise<Record<string, number>> {
  const { model, devExamples } = await openSession(folder, {
    data: { ...data, dev: data.test },
    seed: 13,
    precision: 'float32',
  });
  const metrics = await devMetricsFor(data.test, devExamples, model.head)(await predictLogits(model, devExamples));
  model.dispose();
  return metrics;
}

function trainPeer(name: string, { learningRate, epochs }: Recipe, { python, shared, cpus }: BenchmarkOptions): number {
  if (!python) throw new Error('Expected a Python with PyTorch and Transformers: --python FILE');
  const script = join(dirname(fileURLToPath(import.meta.url)), 'train', 'scores.py');
  const data = join(shared, 'data', name);
  const model = join(shared, 'models', 'minilm-l6');
  const args = [script, data, model, String(learningRate), String(epochs), String(cpus.length), '13'];
  const peer = spawnSync(python, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (peer.status !== 0) throw new Error('the Transformers side failed');
  return round(Number(peer.stdout.trim().split('\n').at(-1)));
}
