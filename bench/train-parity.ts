/**
 * Gradients and the loss curve of MiniLM-L6 beside PyTorch's, float32 and without dropout, from the same start on the
 * same batches of Banking77: `npm run bench -- train-parity`. Rows give errors, so less is better.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crossEntropy } from '../lib/backend/operations.js';
import { loadDataset } from '../lib/data/load.js';
import { openCheckpoint } from '../lib/models/checkpoint.js';
import { openSession, type TrainingSession } from '../lib/training/session.js';
import { stageSchema } from '../lib/training/stages.js';
import { trainStages, type TrainingBatch } from '../lib/training/train.js';
import { round, type Benchmark, type Row } from './benchmark.js';

const here = dirname(fileURLToPath(import.meta.url));
const steps = 50;
const learningRate = 2e-4;

export const benchmark: Benchmark = {
  summary: 'gradients and a loss curve of 50 steps beside PyTorch, from the same start',
  async run({ python, shared }) {
    if (!python) throw new Error('Expected a Python with PyTorch and Transformers: --python FILE');
    const folder = mkdtempSync(join(tmpdir(), 'whittle-bench-'));
    try {
      const data = await loadDataset({ path: join(shared, 'data', 'banking77'), limit: { train: steps * 32 } });
      const open = (precision: 'float32' | 'bfloat16') =>
        openSession(join(shared, 'models', 'minilm-l6'), { data, seed: 13, precision });
      const session = await open('float32');
      const start = join(folder, 'start');
      await session.write(start);
      const { losses, batches } = await train(session);
      const gradients = await gradientsOf(await openAgain(start, data), batches[0]!);
      const bfloat16 = await train(await open('bfloat16'));

      const work = join(folder, 'work.json');
      const rows = batches.map(({ indices }) =>
        Array.from(indices, (index) => ({
          inputIds: [...session.trainExamples.at(index)!.inputIds],
          label: session.trainExamples.at(index)!.label,
        })),
      );
      writeFileSync(work, JSON.stringify({ model: start, learningRate, batches: rows }));
      const peer = spawnSync(python, [join(here, 'train', 'parity.py'), work, join(folder, 'gradients')], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      if (peer.status !== 0) throw new Error('the PyTorch side failed');
      const { losses: expected } = JSON.parse(readFileSync(join(folder, 'gradients', 'losses.json'), 'utf8')) as {
        losses: number[];
      };

      const errors = await compareGradients(gradients, join(folder, 'gradients'));
      const gap = (curve: number[]) => Math.max(...curve.map((loss, step) => Math.abs(loss / expected[step]! - 1)));
      const result: Row[] = [
        { work: 'gradient of the whole model, first batch', unit: 'relative error', whittle: errors.whole, peers: {} },
        { work: 'gradient of a parameter, largest', unit: 'relative error', whittle: errors.largest, peers: {} },
        {
          work: `loss curve of ${steps} steps, float32`,
          unit: 'largest relative gap',
          whittle: gap(losses),
          peers: {},
        },
        {
          work: `loss curve of ${steps} steps, bfloat16`,
          unit: 'largest relative gap',
          whittle: gap(bfloat16.losses),
          peers: {},
        },
      ];
      return {
        rows: result.map((one) => ({ ...one, whittle: round(one.whittle) })),
        notes: {
          largestErrorIn: errors.name,
          curves: { pytorch: expected, whittle: losses, whittleBfloat16: bfloat16.losses },
        },
      };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

function openAgain(folder: string, data: Parameters<typeof openSession>[1]['data']): Promise<TrainingSession> {
  return openSession(folder, { data, seed: 13, precision: 'float32' });
}

/** The loss of every step, and the batches in the order of their steps. */
async function train({
  model,
  trainExamples,
}: TrainingSession): Promise<{ losses: number[]; batches: TrainingBatch[] }> {
  const losses: number[] = [];
  const batches: TrainingBatch[] = [];
  await trainStages(model, {
    stages: [stageSchema.parse({ train: 'all', steps, learningRate, dropout: 0 })],
    trainExamples,
    devExamples: [],
    batchSize: 32,
    seed: 13,
    objective: (logits, batch) => {
      batches.push({ ...batch, indices: batch.indices.slice() });
      return crossEntropy(logits, batch.labels);
    },
    onProgress: ({ loss }) => loss !== undefined && losses.push(loss),
  });
  model.dispose();
  return { losses, batches };
}

async function gradientsOf({ model }: TrainingSession, batch: TrainingBatch): Promise<Map<string, Float32Array>> {
  const pass = { trained: new Set(model.parameters.keys()), hiddenDropout: 0, attentionDropout: 0, seed: 0, step: 0 };
  const { value, gradients: grads } = model.gradients(pass, (taking) =>
    crossEntropy(model.forward(batch, taking), batch.labels),
  );
  const result = new Map(
    [...model.parameters].map(([name, { name: key }]) => [name, grads[key]!.dataSync() as Float32Array]),
  );
  value.dispose();
  return result;
}

async function compareGradients(gradients: Map<string, Float32Array>, folder: string) {
  const expected = await (await openCheckpoint(folder)).readParameters();
  const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const differences = [...gradients].map(([name, values]) => ({
    name,
    norm: norm(expected.get(name)!.data),
    difference: norm(values.map((value, at) => value - expected.get(name)!.data[at]!)),
  }));
  const total = Math.hypot(...differences.map((one) => one.norm));
  // Biases of keys have no gradient but rounding errors, so that their relative error would say nothing.
  const relative = differences
    .map(({ name, norm, difference }) => ({ name, error: difference / Math.max(norm, 1e-4 * total) }))
    .sort((a, b) => b.error - a.error);
  return {
    whole: Math.hypot(...differences.map((one) => one.difference)) / total,
    largest: relative[0]!.error,
    name: relative[0]!.name,
  };
}
