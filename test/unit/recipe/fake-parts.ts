/** Steps that only leave traces, so that the runner is tested apart from training. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../../bindings/errors.js';
import type { Dataset, Split } from '../../../lib/data/dataset.js';
import type { RecipeParts } from '../../../lib/recipe/parts.js';
import type { StepContext, StepResult } from '../../../lib/step.js';
import { temporaryFolder } from '../../harness.js';

export interface Call {
  step: string;
  checkpoint: string;
  options: unknown;
  context: StepContext;
}

const stage = z.strictObject({
  train: z.string(),
  epochs: z.number().positive().default(1),
  learningRate: z.number().positive().default(1e-3),
});

/** Parts whose steps record their calls; `onTrain` runs inside the training steps. */
export function fakeParts(onTrain: (call: Call) => unknown = () => undefined): { parts: RecipeParts; calls: Call[] } {
  const calls: Call[] = [];
  const train = (step: string) => async (checkpoint: string, options: unknown, context: StepContext) => {
    const call = { step, checkpoint, options, context };
    calls.push(call);
    context.onProgress?.({ step, phase: 'stage 1', done: 1, total: 2, unit: 'step', loss: 0.5 });
    context.log({ loss: 0.5 });
    await onTrain(call);
    writeModel(context.folder, `${readFileSync(join(checkpoint, 'model.safetensors'), 'utf8')}>${step}`);
    return result(context.folder, { accuracy: 0.9 });
  };
  const parts: RecipeParts = {
    steps: {
      finetune: { schema: z.strictObject({ stages: z.array(stage).min(1) }), run: train('finetune') },
      distill: {
        schema: z.strictObject({ teachers: z.array(z.string()).min(1), epochs: z.number().default(1) }),
        run: train('distill'),
        mapCheckpoints: (options: { teachers: string[] }, map) => ({
          ...options,
          teachers: options.teachers.map((teacher, index) => map(teacher, ['teachers', index])),
        }),
      },
      evaluate: {
        schema: z.strictObject({ on: z.enum(['dev', 'test']).default('test') }),
        run: async (checkpoint: string, options: { on: string }, context: StepContext) => {
          calls.push({ step: 'evaluate', checkpoint, options, context });
          return {
            checkpoint,
            metrics: { accuracy: 0.8, macroF1: 0.7, textsPerSecond: 100 },
            record: { on: options.on },
          };
        },
      },
    },
    data: {
      schema: z.strictObject({ path: z.string() }),
      mapPaths: (options: { path: string }, resolve) => ({ ...options, path: resolve(options.path) }),
      load: async ({ path }: { path: string }) => {
        if (path.endsWith('missing')) throw new WhittleError('BAD_DATA', `${path}: expected a data folder`);
        return dataset(path);
      },
    },
  };
  return { parts, calls };
}

function result(checkpoint: string, metrics: Record<string, number>): StepResult {
  return { checkpoint, metrics, record: {} };
}

function dataset(path: string): Dataset {
  const split = (name: string): Split => ({
    name,
    file: join(path, name),
    rows: [{ text: 'a', label: 'x' }],
    lines: [1],
  });
  return {
    task: 'text-classification',
    labels: ['x', 'y'],
    train: split('train'),
    dev: split('dev'),
    test: split('test'),
  };
}

function writeModel(folder: string, weights: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), '{"model_type":"bert"}');
  writeFileSync(join(folder, 'model.safetensors'), weights);
}

/** A folder with a model, data and a recipe file; returns the folder. */
export function recipeFolder(recipe: string): string {
  const folder = temporaryFolder();
  writeModel(join(folder, 'model'), 'model');
  mkdirSync(join(folder, 'data'));
  writeFileSync(join(folder, 'recipe.yaml'), recipe);
  return folder;
}

export const simpleRecipe = `
name: trial
model: model
task: text-classification
data: { path: data }
steps:
  - finetune:
      stages:
        - { train: head, learningRate: 1e-3 }
        - { train: all, learningRate: 1e-4 }
  - evaluate
`;
