/** Stages as data: which parameters train, for how long, how fast. */
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import type { ParameterName } from '../models/description.js';
import { intervalSchema } from './interval.js';
import { lossSchema } from './losses/options.js';
import { optimizerSchema } from './optimizers/options.js';
import { depthOf, groupsSchema } from './parameter-groups.js';
import { scheduleSchema } from './schedule.js';

const rate = (what: string) =>
  z.number(`expected ${what}`).min(0, `expected ${what} of at least 0`).max(1, `expected ${what} of at most 1`);

export const earlyStoppingSchema = z.strictObject({
  /** Name of a dev metric, as the evaluation of the task gives them: `accuracy`, `macroF1`, `f1`, `loss`, ... */
  metric: z.string(),
  /** Evaluations in a row without an improvement before the stage ends. */
  patience: z.int('expected a whole number of evaluations').min(1).default(2),
  /** A change below this is no improvement. */
  minChange: z.number().min(0).default(0),
  /** `min` by default for metrics whose name ends in `loss`, `error`, `mse` or `mae`, else `max`. */
  mode: z.enum(['max', 'min']).optional(),
});

export const unfreezeSchema = z.strictObject({
  /** `1 epoch`, `100 steps` */
  every: intervalSchema,
  from: z.enum(['top', 'bottom'], 'expected "top" or "bottom"').default('top'),
});

export const parameterGroupSchema = z
  .strictObject({
    /** Named as in `train`. */
    parameters: groupsSchema,
    /** In place of the stage's; schedule and layerDecay apply to it as well. */
    learningRate: rate('a learning rate').optional(),
    /** In place of the stage's; biases and LayerNorm have none here either. */
    weightDecay: rate('a weight decay').optional(),
  })
  .refine(
    ({ learningRate, weightDecay }) => learningRate !== undefined || weightDecay !== undefined,
    'expected a learningRate or a weightDecay',
  );

export const stageSchema = z
  .strictObject({
    /**
     * `head`, `embeddings`, `layers.4-5`, `layers.3`, `all`, a pattern over parameter names (`*.bias`,
     * `layers.*.attention.*`), or a list of them.
     */
    train: groupsSchema,
    /** Begin with the top (or bottom) of `train` and add the next layer every so often. */
    unfreeze: unfreezeSchema.optional(),
    /** Learning rates and weight decay of some of the parameters. The first group that names a parameter counts. */
    groups: z.array(parameterGroupSchema).min(1, 'expected at least one group').optional(),
    epochs: z.number('expected a number of epochs').positive('expected more than 0 epochs').max(10_000).optional(),
    steps: z.int('expected a whole number of steps').min(1, 'expected at least 1 step').optional(),
    learningRate: rate('a learning rate').refine((value) => value > 0, 'expected a learning rate above 0'),
    /** Part of the stage's steps during which the rate rises from 0. */
    warmupRatio: rate('a ratio').default(0.1),
    /** The same as a number of steps, in place of `warmupRatio`. */
    warmupSteps: z.int('expected a whole number of steps').min(0).optional(),
    /** Decoupled, but with adam and sgd; biases and LayerNorm have none. */
    weightDecay: rate('a weight decay').default(0.01),
    /** Each layer below the topmost trains with the rate of the one above times this; the embeddings come lowest. */
    layerDecay: rate('a factor')
      .refine((value) => value > 0, 'expected a factor above 0')
      .default(1),
    schedule: scheduleSchema.default('linear'),
    /** `adamw`, `adam`, `sgd`, `adafactor`, `lion`, or one of them with its options. The step's own by default. */
    optimizer: optimizerSchema.optional(),
    /** Sequences a step. The step's own by default. */
    batchSize: z.int().min(1).max(65_536).optional(),
    /** Batches whose gradients make up one update: the same as one batch of all their sequences, in less memory. */
    gradientAccumulation: z.int('expected a whole number of batches').min(1).max(65_536).default(1),
    /**
     * All gradients together are scaled down to this norm; 0 turns clipping off. `{ norm: 1 }` is the same as `1`;
     * `{ value: 0.5 }` cuts each element to -0.5 up to 0.5 instead.
     */
    gradientClip: z
      .union([
        z.number('expected a norm').min(0, 'expected a norm of at least 0'),
        z.strictObject({ norm: z.number('expected a norm').min(0, 'expected a norm of at least 0') }),
        z.strictObject({ value: z.number('expected a value').positive('expected a value above 0') }),
      ])
      .default(1),
    /** Label smoothing, class weights, focal loss, R-Drop. */
    loss: lossSchema.optional(),
    /** How often the dev set is scored: `1 epoch` by default, and after the stage's last step in any case. */
    evaluateEvery: intervalSchema.optional(),
    earlyStopping: earlyStoppingSchema.optional(),
    /**
     * Decay of an exponential moving average of the weights, which is what is scored and kept: 0.999 is common. It
     * begins lower, as min(ema, (1 + step) / (10 + step)).
     */
    ema: z
      .number('expected a decay')
      .min(0, 'expected a decay of at least 0')
      .lt(1, 'expected a decay below 1')
      .optional(),
    /** Batches of rows of similar length, shuffled. */
    groupByLength: z.boolean('expected true or false').default(false),
    /** In place of the model's own rates, for hidden states, attention and head alike. */
    dropout: z.number().min(0).max(0.9, 'expected a dropout of at most 0.9').optional(),
    /** Keep only each layer's input and compute the rest again in the backward pass: less memory, a third more time. */
    recompute: z.boolean().default(false),
  })
  .refine((stage) => (stage.epochs === undefined) !== (stage.steps === undefined), 'expected either epochs or steps');

/** A stage as a user writes it. */
export type StageOptions = z.input<typeof stageSchema>;
/** A stage with its defaults filled in. */
export type Stage = z.output<typeof stageSchema>;
export type EarlyStopping = z.output<typeof earlyStoppingSchema>;

/** `layers.4-5, head` */
export function stageName(stage: Pick<Stage, 'train'>): string {
  return [stage.train].flat().join(', ');
}

/** `stage 2 (layers.4-5, head)`; the index is 0-based. */
export function stageTitle(stage: Pick<Stage, 'train'>, index: number): string {
  return `stage ${index + 1} (${stageName(stage)})`;
}

/** The factor on a parameter's learning rate: layerDecay once for each layer between it and the topmost one. */
export function learningRateFactor(name: ParameterName, layers: number, layerDecay: number): number {
  return layerDecay ** Math.max(0, layers - 1 - depthOf(name, layers));
}

/** Biases, that of relative positions among them, and LayerNorm parameters are not decayed. */
export function isDecayed(name: ParameterName): boolean {
  return !/\.(bias|positionBias)$/.test(name) && !name.includes('norm.');
}

/** The same error, naming the stage. */
export function inStage(title: string, error: unknown): unknown {
  if (!(error instanceof WhittleError)) return error;
  return new WhittleError(error.code, `${title}: ${error.message}`, { cause: error });
}

/** A learning rate as people write it: `2e-5`, `1e-3`, `0.015`. */
export function formatRate(rate: number): string {
  const rounded = Number(rate.toPrecision(4));
  const [plain, exponential] = [String(rounded), rounded.toExponential()];
  return exponential.length < plain.length ? exponential : plain;
}
