/** Options of a predictor and of its calls. */
import { z } from 'zod';
import { tasks } from '../data/dataset.js';
import { devicePattern } from '../models/device.js';
import { signalRule, threadsRule } from '../options.js';

const threshold = z.number().min(0).max(1);

/** Options of `Predictor.load`. */
export const predictorSchema = z.strictObject({
  /**
   * What the model must do; it decides the type of the predictions. `any`: whatever it does, told by `predictor.task`.
   */
  task: z.enum([...tasks, 'any']).default('text-classification'),
  /**
   * Where it runs: `cpu`, `cuda` (the first GPU), `cuda:N`, several GPUs `cuda:0,cuda:1`, or `auto`, the first GPU if
   * there is one that whittle can use, else the CPU. The environment variable WHITTLE_DEVICE, or `cpu`, if absent.
   */
  device: z
    .string()
    .regex(devicePattern, 'Expected "cpu", "auto", "cuda", "cuda:N" or several such as "cuda:0,cuda:1"')
    .optional(),
  /** As `Engine.load` has it. `auto`: int8 for a checkpoint that is quantized with dynamic activations, else float32. */
  precision: z.enum(['auto', 'float32', 'bfloat16', 'int8']).default('auto'),
  /** Threads of the native core, at most; 0 is the machine's default. */
  threads: threadsRule.default(0),
  /** Most tokens of a text, special ones included; what the model can take if absent. */
  maxLength: z.number().int().positive().optional(),
  /**
   * Labels and entities less probable than this are held back; 0 by default, and for models of several labels the
   * thresholds that they come with.
   */
  threshold: threshold.optional(),
  /** Tokens that the engine gets at once, about; 4096 if absent, on a GPU 32768. */
  batchTokens: z.number().int().positive().optional(),
  /**
   * What becomes of texts with more than `maxLength` tokens: cut, read in windows whose results are merged, or refused.
   * What the model was trained with if absent, else `truncate`. Cut ones are counted in `truncatedTexts`; pairs are
   * cut in place of windows, the longer text first.
   */
  longTexts: z.enum(['truncate', 'windows', 'error']).optional(),
  /** Tokens that neighboring windows share; a quarter of `maxLength` if neither given nor kept with the model. */
  stride: z.number().int().min(0).optional(),
  /**
   * What becomes of texts without a character, as given or after preprocessing: an error; or label null, no labels or entities, a score that is NaN, an
   * embedding of zeros.
   */
  emptyText: z.enum(['error', 'abstain']).default('error'),
  signal: signalRule.optional(),
});

/** Options of `Predictor.load`. */
export type PredictorOptions = z.input<typeof predictorSchema>;
export type CheckedOptions = z.output<typeof predictorSchema>;

export const predictSchema = z.strictObject({
  /** Every label's probability, for models of classes and of several labels. */
  allScores: z.boolean().default(false),
  /** In place of the predictor's. */
  threshold: threshold.optional(),
  signal: signalRule.optional(),
});

/** Options of one call of `predict` or `predictStream`. */
export type PredictOptions = z.input<typeof predictSchema>;
