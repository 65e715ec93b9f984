/** The options of a finetune step, checked. */
import { z } from 'zod';
import { checkpointRule } from './checkpointed-training.js';
import { trainingDevices } from '../backend/devices.js';
import { optimizerSchema } from './optimizers/options.js';
import { stageSchema } from './stages.js';
import { taskShape } from './task-options.js';

/** Options that every step which trains shares: finetune, the recovery of prune, distill. */
export const trainingShape = {
  /** Sequences a step, unless a stage says otherwise. */
  batchSize: z.int('expected a whole number of sequences').min(1).max(65_536).default(32),
  /** Longer texts are cut to this many tokens. 128 by default, or what the model can take if that is less. */
  maxLength: z.int('expected a whole number of tokens').min(3).optional(),
  /** Of the matrix products; `auto` is bfloat16 where the machine multiplies it natively. Weights stay float32. */
  precision: z.enum(['auto', 'float32', 'bfloat16']).default('auto'),
  /**
   * `cpu`: whittle's own kernels. `tensorflow`: TensorFlow's, on a GPU with the package @tensorflow/tfjs-node-gpu, else
   * with @tensorflow/tfjs-node; float32. `wasm` and `javascript`: slow, for checks.
   */
  device: z.enum(trainingDevices).default('cpu'),
  /** Of the stages that name none. */
  optimizer: optimizerSchema.default('adamw'),
  /** When the state of the training is saved, so that a killed run goes on: every 5 minutes unless told. */
  checkpoint: checkpointRule,
  ...taskShape,
};

export const finetuneSchema = z.strictObject({
  stages: z.array(stageSchema).min(1, 'expected at least one stage'),
  ...trainingShape,
});

/** Options of a finetune step as a user writes them. */
export type FinetuneOptions = z.input<typeof finetuneSchema>;
/** The same with their defaults filled in. */
export type CheckedFinetuneOptions = z.output<typeof finetuneSchema>;
