/** What pruning, distillation and quantization cost on Banking77, each from the same fine-tuned model. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prune, type PruneOptions } from '../lib/compress/prune.js';
import { quantize } from '../lib/compress/quantize.js';
import { loadDataset } from '../lib/data/load.js';
import { distill } from '../lib/distill/distill.js';
import type { DistillOptions } from '../lib/distill/options.js';
import { evaluate } from '../lib/evaluate/evaluate.js';
import type { StepContext, StepResult } from '../lib/step.js';
import { finetune } from '../lib/training/finetune.js';
import { round, type Benchmark, type Row } from './benchmark.js';

const threads = 2;
const pruning: PruneOptions = { sparsity: 0.5, scope: 'global', recover: { epochs: 1, learningRate: 1e-4 } };
/** Of both students: with a teacher, and with alpha 1, which leaves the hard labels alone. */
const student = { student: { layers: [0, 2, 4] }, epochs: 6, learningRate: 2e-4 };
/** The students are trained so often, and their means compared; everything else is done once, with the first. */
const seeds = [13, 14, 15];
const float32 = 'fine-tuned, float32';
const distillation: Partial<DistillOptions> = { temperature: 4, alpha: 0.1 };

export const benchmark: Benchmark = {
  summary: 'accuracy after pruning, distillation and quantization on Banking77 [CHECKPOINT]',
  async run({ args, shared }) {
    const data = await loadDataset({ path: join(shared, 'data', 'banking77') });
    const folder = mkdtempSync(join(tmpdir(), 'whittle-compress-'));
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
    const context = (name: string, seed = seeds[0]!): StepContext => ({
      ...{ data, task: data.task, seed, folder: join(folder, name), checkpoints: new Map(), threads },
      log: () => {},
    });
    const rows: Row[] = [];
    const accuracies = new Map<string, number[]>();
    const measure = async (work: string, checkpoint: string) => {
      const { metrics } = await evaluate(checkpoint, data, { on: 'test', threads });
      const accuracy = round(100 * metrics.accuracy!);
      accuracies.set(work, [...(accuracies.get(work) ?? []), accuracy]);
      console.log(`${work}: ${accuracy} %`);
    };
    const compare = (work: string, baseline?: string) => {
      const peers: Record<string, number> = baseline ? { [baseline]: mean(accuracies.get(baseline)!) } : {};
      rows.push({ work, unit: 'accuracy on test, %', whittle: mean(accuracies.get(work)!), peers });
    };

    const original = args[0] ?? (await trainOriginal(join(shared, 'models', 'minilm-l6'), context('finetune')));
    await measure(float32, original);
    compare(float32);
    const pruned = await prune(original, pruning, context('prune'));
    await measure('50 % magnitude sparsity, one epoch of recovery', pruned.checkpoint);
    compare('50 % magnitude sparsity, one epoch of recovery', float32);
    const dynamic = await quantize(original, { method: 'dynamic' }, context('dynamic'));
    await measure('int8, dynamic', dynamic.checkpoint);
    compare('int8, dynamic', float32);
    const weightOnly = await quantize(original, { method: 'weight-only' }, context('weight-only'));
    await measure('int8, weight-only', weightOnly.checkpoint);
    compare('int8, weight-only', float32);
    for (const seed of seeds) {
      const distilled = await distillFrom(original, distillation, context(`distill-${seed}`, seed));
      await measure('3-layer student, distilled', distilled.checkpoint);
      const alone = await distillFrom(original, { alpha: 1 }, context(`alone-${seed}`, seed));
      await measure('3-layer student without a teacher', alone.checkpoint);
    }
    compare('3-layer student, distilled', '3-layer student without a teacher');
    const { sparsity } = pruned.record;
    return {
      rows,
      notes: { pruning, sparsity, student, distillation, seeds, accuracies: Object.fromEntries(accuracies) },
    };
  },
};

async function trainOriginal(encoder: string, context: StepContext): Promise<string> {
  const stages = [
    { train: 'head', epochs: 4, learningRate: 2e-3 },
    { train: ['head', 'layers.4-5'], epochs: 4, learningRate: 4e-4 },
    { train: 'all', epochs: 3, learningRate: 2e-4 },
  ];
  return (await finetune(encoder, { stages }, context)).checkpoint;
}

function distillFrom(teacher: string, options: Partial<DistillOptions>, context: StepContext): Promise<StepResult> {
  return distill(teacher, { ...student, ...options, teachers: [teacher] }, context);
}

function mean(values: readonly number[]): number {
  return round(values.reduce((sum, value) => sum + value, 0) / values.length);
}
