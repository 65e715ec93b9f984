/** The kinds of step that whittle has. A new one is one entry here. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isGlob, splitGlob } from '../data/files.js';
import { datasetSchema, loadDataset, type DatasetOptions } from '../data/load.js';
import { checkPrune, checkQuantize } from '../compress/check.js';
import { quantize, quantizeSchema, type QuantizeOptions } from '../compress/quantize.js';
import { prune, pruneSchema, type PruneOptions } from '../compress/prune.js';
import { checkDistill } from '../distill/check.js';
import { distill } from '../distill/distill.js';
import { distillSchema, type CheckedDistillOptions } from '../distill/options.js';
import { evaluateSchema, evaluateStep, type EvaluateStepOptions } from '../evaluate/evaluate.js';
import { checkFinetune } from '../training/check.js';
import { finetune } from '../training/finetune.js';
import { finetuneSchema, type FinetuneOptions } from '../training/options.js';
import { openCheckpoint } from '../models/checkpoint.js';
import type { RecipeParts, StepKind } from './parts.js';

/** When a training is saved changes no result. */
function withoutCheckpoint<T extends object>(options: T): Omit<T, 'checkpoint'> {
  const rest = { ...options } as T & { checkpoint?: unknown };
  delete rest.checkpoint;
  return rest;
}

const finetuneKind: StepKind = {
  check: checkFinetune,
  resultOptions: withoutCheckpoint,
  schema: finetuneSchema,
  run: (checkpoint, options: FinetuneOptions, context) => finetune(checkpoint, options, context),
};

const pruneKind: StepKind = {
  check: checkPrune,
  resultOptions: ({ recover, ...rest }: PruneOptions) => ({
    ...rest,
    ...(recover && { recover: withoutCheckpoint(recover) }),
  }),
  schema: pruneSchema,
  run: (checkpoint, options: PruneOptions, context) => prune(checkpoint, options, context),
};

const distillKind: StepKind = {
  check: checkDistill,
  resultOptions: withoutCheckpoint,
  schema: distillSchema,
  run: (checkpoint, options: CheckedDistillOptions, context) => distill(checkpoint, options, context),
  mapCheckpoints: ({ teachers, student, ...rest }: CheckedDistillOptions, map) => ({
    ...rest,
    teachers: teachers.map((teacher, index) =>
      typeof teacher === 'string'
        ? map(teacher, ['teachers', index])
        : { ...teacher, from: map(teacher.from, ['teachers', index, 'from']) },
    ),
    ...(student && {
      student: 'model' in student ? { ...student, model: map(student.model, ['student', 'model']) } : student,
    }),
  }),
};

const quantizeKind: StepKind = {
  check: checkQuantize,
  schema: quantizeSchema,
  run: (checkpoint, options: QuantizeOptions, context) => quantize(checkpoint, options, context),
};

const evaluateKind: StepKind = {
  schema: evaluateSchema,
  run: (checkpoint, options: EvaluateStepOptions, context) => evaluateStep(checkpoint, options, context),
};

/** What whittle's own recipes are made of. */
export const whittleParts: RecipeParts = {
  describe: async (folder) => {
    const { description, head, settings } = await openCheckpoint(folder);
    return { description, head, settings };
  },
  steps: {
    finetune: finetuneKind,
    prune: pruneKind,
    distill: distillKind,
    quantize: quantizeKind,
    evaluate: evaluateKind,
  },
  data: {
    schema: datasetSchema,
    mapPaths: (options: DatasetOptions, toPath) => {
      const { path, train, dev, test, ...rest } = options;
      const paths = Object.entries({ path, train, dev, test }).filter(([, value]) => value !== undefined);
      const toFiles = (value: string | string[]) =>
        Array.isArray(value) ? value.map((one) => resolvePattern(one, toPath)) : resolvePattern(value, toPath);
      return { ...rest, ...Object.fromEntries(paths.map(([key, value]) => [key, toFiles(value!)])) };
    },
    load: (options: DatasetOptions, task) => loadDataset({ task, ...options }),
  },
};

/** A path made absolute; of a glob, the folders before its first wildcard. */
function resolvePattern(pattern: string, toPath: (path: string) => string): string {
  const whole = resolve(toPath(pattern));
  if (!isGlob(pattern) || existsSync(whole)) return whole;
  const { folder, rest } = splitGlob(pattern);
  return join(resolve(toPath(folder)), rest);
}
