/** Stages as data: which parameters train, for how long, how fast. */
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import type { ModelDescription, ParameterName } from '../models/description.js';
import { lossSchema } from './losses/options.js';
import { optimizerSchema } from './optimizers/options.js';
import { scheduleSchema } from './schedule.js';

const group = z
  .string()
  .regex(/^(head|embeddings|all|layers\.\d+(-\d+)?)$/, 'expected head, embeddings, all, layers.N or layers.N-M');

const rate = (what: string) =>
  z.number(`expected ${what}`).min(0, `expected ${what} of at least 0`).max(1, `expected ${what} of at most 1`);

export const earlyStoppingSchema = z.strictObject({
  /** Name of a dev metric, as the evaluation of the task gives them: `accuracy`, `macroF1`, `f1`, `loss`, ... */
  metric: z.string(),
  /** Evaluations in a row without an improvement before the stage ends. */
  patience: z.int('expected a whole number of evaluations').min(1).default(2),
  /** A change below this is no improvement. */
  minChange: z.number().min(0).default(0),
  /** `min` by default for metrics whose name ends in `loss`, else `max`. */
  mode: z.enum(['max', 'min']).optional(),
});

export const stageSchema = z
  .strictObject({
    /** `head`, `embeddings`, `layers.4-5`, `layers.3`, `all`, or a list of them. */
    train: z.union([group, z.array(group).min(1, 'expected at least one parameter group')]),
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
    earlyStopping: earlyStoppingSchema.optional(),
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
export function stageName(stage: Stage): string {
  return [stage.train].flat().join(', ');
}

/** Where a parameter sits: -1 embeddings, 0 .. layers - 1, layers for the head. */
export function depthOf(name: ParameterName, layers: number): number {
  if (name.startsWith('embeddings.')) return -1;
  const layer = /^layers\.(\d+)\./.exec(name);
  return layer ? Number(layer[1]) : layers;
}

/**
 * The parameters among `names` that a stage trains.
 * @throws WhittleError BAD_OPTION if the stage names layers that the model lacks, or trains nothing.
 */
export function trainedParameters(
  stage: Pick<Stage, 'train'>,
  names: Iterable<ParameterName>,
  description: Pick<ModelDescription, 'layers'>,
): Set<ParameterName> {
  const { layers } = description;
  const trained = new Set<ParameterName>();
  const all = [...names];
  for (const one of [stage.train].flat()) {
    const range = /^layers\.(\d+)(?:-(\d+))?$/.exec(one);
    let low = one === 'embeddings' || one === 'all' ? -1 : layers;
    let high = one === 'embeddings' ? -1 : layers;
    if (range) {
      low = Number(range[1]);
      high = Number(range[2] ?? range[1]);
      if (high < low)
        throw new WhittleError('BAD_OPTION', `stage: expected the lower layer of "${one}" first, but ${low} > ${high}`);
      if (high >= layers) {
        const has = layers === 1 ? 'one layer, layers.0' : `${layers} layers, layers.0-${layers - 1}`;
        throw new WhittleError('BAD_OPTION', `stage: "${one}" names a layer that the model lacks; it has ${has}`);
      }
    }
    for (const name of all) {
      const depth = depthOf(name, layers);
      if (depth >= low && depth <= high) trained.add(name);
    }
  }
  if (trained.size === 0)
    throw new WhittleError('BAD_OPTION', `stage: "${[stage.train].flat().join(', ')}" trains no parameter`);
  return trained;
}

/** The factor on a parameter's learning rate: layerDecay once for each layer between it and the topmost one. */
export function learningRateFactor(name: ParameterName, layers: number, layerDecay: number): number {
  return layerDecay ** Math.max(0, layers - 1 - depthOf(name, layers));
}

/** Biases, that of relative positions among them, and LayerNorm parameters are not decayed. */
export function isDecayed(name: ParameterName): boolean {
  return !/\.(bias|positionBias)$/.test(name) && !name.includes('norm.');
}
