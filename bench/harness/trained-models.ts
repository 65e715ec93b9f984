/** MiniLM-L6 fine-tuned on Banking77 and CoNLL-2003, for benchmarks whose figures depend on what a model has learned. */
import { join } from 'node:path';
import type { Recipe } from '../../lib/recipe/run.js';
import { run } from '../../lib/recipe/run.js';
import type { BenchmarkOptions } from '../benchmark.js';
import { modelFolder } from './models.js';

export type TrainedName = 'banking77' | 'conll2003';

const recipes: Record<TrainedName, Pick<Recipe, 'task' | 'steps'>> = {
  banking77: {
    task: 'text-classification',
    steps: [
      {
        finetune: {
          stages: [
            { train: 'head', epochs: 4, learningRate: 2e-3 },
            { train: ['head', 'layers.4-5'], epochs: 4, learningRate: 4e-4 },
            { train: 'all', epochs: 2, learningRate: 1.5e-4 },
          ],
        },
      },
      { quantize: { method: 'dynamic', calibration: 512 } },
    ],
  },
  conll2003: {
    task: 'token-classification',
    steps: [
      { finetune: { stages: [{ train: 'all', epochs: 3, learningRate: 2e-4 }] } },
      { quantize: { method: 'dynamic', calibration: 512 } },
    ],
  },
};

/** The float32 and int8 checkpoints; trained once (minutes) and kept below runs/bench. */
export async function trainedModel(
  name: TrainedName,
  { shared }: BenchmarkOptions,
): Promise<{ float32: string; int8: string }> {
  const folder = join(modelFolder, `MiniLM-L6-${name}`);
  const data = { path: join(shared, 'data', name) };
  const model = join(shared, 'models', 'minilm-l6');
  console.log(`MiniLM-L6 on ${name}: trained, or kept, in ${folder}`);
  const { checkpoint } = await run({ name, model, data, seed: 13, ...recipes[name] }, { folder });
  return { float32: join(folder, 'finetune'), int8: checkpoint };
}
