/** What every step of a recipe shares. A leaf: of whittle it imports types, errors and the checks of options alone. */
import { z } from 'zod';
import { WhittleError } from '../bindings/errors.js';
import type { Dataset, Task } from './data/dataset.js';
import type { ModelDescription, TaskHead } from './models/description.js';
import type { TaskSettings } from './models/task-settings.js';
import { checkOptions, functionRule, signalRule, threadsRule } from './options.js';

/** What a step tells while it runs. Numbers that do not apply are absent. */
export interface ProgressEvent {
  /** Which step of the recipe this is, e.g. `finetune`. */
  step: string;
  /** What it is doing now, e.g. `stage 2 of 3 (layers.4-5, head)`. */
  phase: string;
  /** Units of work done and to do in this phase. */
  done: number;
  total: number;
  /** What a unit is: `step`, `sequence`, `tensor`. */
  unit: string;
  loss?: number;
  learningRate?: number;
  tokensPerSecond?: number;
  secondsLeft?: number;
  /** Dev or test scores, when they were just measured. */
  metrics?: Record<string, number>;
}

/** One step of training that was done. */
export interface StepEvent {
  /** Which step of the recipe this is, e.g. `finetune`. */
  recipeStep: string;
  /** Counted from 1, and what it trains: `layers.4-5, head`. */
  stage: number;
  train: string;
  /** Steps of the stage that are done, of how many. */
  step: number;
  steps: number;
  /** How often the stage has been through the training rows, parts included. */
  epoch: number;
  /** Mean over the rows or tokens of the step. */
  loss: number;
  learningRate: number;
  /** Of all gradients together, before clipping. */
  gradientNorm: number;
  /** Tokens that the stage has trained on so far. */
  tokens: number;
  tokensPerSecond: number;
}

/** Called after each step of training; awaited. `stop` ends the stage there, which is scored as if it had been its last step. */
export type OnStep = (event: StepEvent) => void | 'stop' | Promise<void | 'stop'>;

/** What a step works with beside its checkpoint and options; `stepContext` makes one. */
export interface StepContext {
  data: Dataset;
  task: Task;
  /** Source of all randomness of the step. */
  seed: number;
  /** Folder that the step owns; its checkpoint is written here, whole or not at all. */
  folder: string;
  /** Checkpoints of earlier steps by name, for teachers. */
  checkpoints: ReadonlyMap<string, string>;
  /**
   * Tells what the step's result depends on, for going on with a training that was cut off; made from model, options
   * and data if absent.
   */
  hash?: string;
  /** Threads of native work; 0 is the machine's default. */
  threads: number;
  onProgress?: (event: ProgressEvent) => void;
  onStep?: OnStep;
  /** Takes what may not be what the user wants, one sentence each. */
  onNote?: (message: string) => void;
  signal?: AbortSignal;
  /** Appends one record to the run's metrics.jsonl, beside `step`, the name of the recipe step, and `time`. */
  log: (record: Record<string, unknown>) => void;
}

/** What a step leaves behind. */
export interface StepResult {
  /** Folder of the checkpoint that the next step starts from; the input's folder if the step changed none. */
  checkpoint: string;
  /** Scores, by name: `accuracy`, `macroF1`, ... */
  metrics: Record<string, number>;
  /** What was done, as plain JSON for the report: per-stage curves, sparsity per tensor, ... */
  record: Record<string, unknown>;
}

/** What is known of a model before its weights are read, or before it exists. */
export interface ModelFacts {
  description: ModelDescription;
  head: TaskHead | undefined;
  settings: TaskSettings;
}

/** What there is for checking a step's options before any step of its recipe runs. */
export interface StepCheck {
  data: Dataset;
  /** What earlier steps will make, by name. */
  models: ReadonlyMap<string, ModelFacts>;
  /** Facts of the checkpoint in a folder. */
  describe(folder: string): Promise<ModelFacts>;
  /** Runs a check of the option at `path`; a mistake that it throws gets the place of the option in the recipe. */
  at<T>(path: readonly (string | number)[], check: () => T): T;
}

const datasetRule = z.custom<Dataset>((value) => {
  const { labels, train, dev, test } = (value ?? {}) as Partial<Dataset>;
  return Array.isArray(labels) && [train, dev, test].every((split) => Array.isArray(split?.rows));
}, 'expected a dataset of loadDataset');

const contextRules = {
  folder: z.string('expected the folder to write').min(1, 'expected the folder to write'),
  task: z.string().optional(),
  seed: z.int('expected a whole number').min(0).max(0xffffffff).optional(),
  checkpoints: z.instanceof(Map, { error: 'expected a Map from names of steps to folders' }).optional(),
  hash: z.string().optional(),
  threads: threadsRule.optional(),
  onProgress: functionRule().optional(),
  onStep: functionRule().optional(),
  onNote: functionRule().optional(),
  signal: signalRule.optional(),
  log: functionRule().optional(),
};
const givenSchema = z.strictObject({ ...contextRules, data: datasetRule.optional() });
// Not strict: of a context without data, `data` must not even be looked at.
const contextSchema = z.object(contextRules);
const dataContextSchema = z.object({ ...contextRules, data: datasetRule });

/**
 * Checks what a step function is called with besides its options.
 * @param needsData whether the step reads the dataset; it then needs a whole context.
 * @throws WhittleError `BAD_OPTION` for a checkpoint that is no name of a folder, or a context that lacks something.
 */
export function checkCall(step: string, checkpoint: unknown, context: unknown, needsData: boolean): void {
  if (typeof checkpoint !== 'string' || checkpoint === '') {
    const found = checkpoint === undefined ? 'none' : JSON.stringify(checkpoint);
    throw new WhittleError('BAD_OPTION', `${step}: expected the folder of a checkpoint but found ${found}`);
  }
  checkOptions(needsData ? dataContextSchema : contextSchema, context, `${step} context`);
  if (!needsData) return;
  const missing = ['seed', 'checkpoints', 'threads', 'log'].find((key) => !(key in (context as object)));
  if (missing === undefined) return;
  throw new WhittleError(
    'BAD_OPTION',
    `${step} context: expected ${missing} but it is missing; stepContext() makes a whole context`,
  );
}

/**
 * The context of a step that is called by itself, outside a recipe.
 *
 * @param given the folder that the step writes and, for steps that train or evaluate, the data; the rest has defaults.
 * @throws WhittleError `BAD_OPTION` for an unknown key or a value of another kind; later, if a step needs data and none
 *   are given.
 * @example
 * const data = await loadDataset({ path: 'examples/quickstart/data' });
 * const stages = [{ train: 'head', epochs: 3, learningRate: 2e-3 }];
 * const { checkpoint } = await finetune('models/minilm-l6', { stages }, stepContext({ data, folder: 'runs/mine/finetune' }));
 * await quantize(checkpoint, {}, stepContext({ folder: 'runs/mine/int8' }));
 */
export function stepContext(given: Pick<StepContext, 'folder'> & Partial<StepContext>): StepContext {
  checkOptions(givenSchema, given, 'step context');
  return {
    get data(): Dataset {
      throw new WhittleError('BAD_OPTION', 'step context: expected "data", which this step needs, but found none');
    },
    task: given.data?.task ?? 'text-classification',
    seed: 13,
    checkpoints: new Map(),
    threads: 0,
    log: () => undefined,
    ...given,
  };
}
