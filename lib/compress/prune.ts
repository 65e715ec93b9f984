/** The prune step: takes weights away, then trains what is left. */
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { native } from '../../bindings/load.js';
import { openCheckpoint, type Checkpoint } from '../models/checkpoint.js';
import type { ParameterName } from '../models/description.js';
import { isLinearWeight, type Parameters } from '../models/parameters.js';
import { writeCheckpoint } from '../models/write-checkpoint.js';
import { checkOptions } from '../options.js';
import { checkCall, type StepContext, type StepResult } from '../step.js';
import { finishTraining, trainWithCheckpoints } from '../training/checkpointed-training.js';
import { openSession, tellingRows } from '../training/session.js';
import { epochsOrSteps, singleStageShape, stageOf } from '../training/single-stage.js';
import { taskOptionsOf } from '../training/task-options.js';
import type { TrainResult } from '../training/train.js';
import { compressDevice, compressDeviceSchema } from './device.js';
import { magnitudeMasks, type PrunedTensor } from './magnitude.js';
import { matchParameters, patternsSchema } from './parameter-patterns.js';

/** The training that follows: one stage, all parameters at a low rate unless it says otherwise. */
export const recoverSchema = z.strictObject(singleStageShape(5e-5)).refine(...epochsOrSteps);

export const pruneSchema = z.strictObject({
  /** `magnitude`: the weights of smallest magnitude become zero, wherever they are. */
  kind: z.enum(['magnitude'], 'expected "magnitude"').default('magnitude'),
  /** Fraction of the chosen weights that become zero. */
  sparsity: z
    .number('expected a fraction')
    .min(0, 'expected a fraction of at least 0')
    .lt(1, 'expected a fraction below 1'),
  /** `global`: the smallest of all chosen weights together; `tensor`: the same fraction of each. */
  scope: z.enum(['global', 'tensor'], 'expected "global" or "tensor"').default('global'),
  /** Which weights: names with `*` for any run of characters. By default every linear weight of the layers. */
  tensors: patternsSchema.min(1, 'expected at least one pattern').default(['layers.*.weight']),
  /** Where the smallest are looked for: `cpu`, `auto`, `cuda` or `cuda:N`. The result is the same on each. */
  device: compressDeviceSchema,
  /** Training afterwards, with the pruned weights held at zero. None without it. */
  recover: recoverSchema.optional(),
});

/** Options of a prune step as a user writes them. */
export type PruneOptions = z.input<typeof pruneSchema>;

/**
 * Sets the smallest weights of a checkpoint to zero and, with `recover`, trains the others while those stay zero.
 * Writes a float32 checkpoint of the same shapes.
 *
 * @param checkpoint folder of the model; int8 weights are dequantized first.
 * @returns the folder written and, after a recovery, its dev metrics. The record has `sparsity` of all chosen weights
 *   together, `tensors` (a PrunedTensor each) and `recovery` (a record of the stage).
 * @throws WhittleError BAD_OPTION; BAD_CHECKPOINT if the model cannot be read or a weight is NaN or infinite; what
 *   training throws; UNSUPPORTED or DEVICE for a GPU that is not there, was lost or is full; IO; ABORTED.
 * @example
 * const data = await loadDataset({ path: 'examples/quickstart/data' });
 * const recover = { epochs: 1, learningRate: 1e-4 };
 * const context = stepContext({ data, folder: 'runs/mine/prune' });
 * const { record } = await prune('runs/quickstart/finetune', { sparsity: 0.5, recover }, context);
 * console.log(record.sparsity);
 */
export async function prune(checkpoint: string, options: PruneOptions, context: StepContext): Promise<StepResult> {
  const checked = checkOptions(pruneSchema, options, 'prune options');
  checkCall('prune', checkpoint, context, checked.recover !== undefined);
  const { sparsity, scope } = checked;
  const { threads = 0, signal, onProgress, onNote } = context;
  const device = compressDevice(checked.device, onNote);
  const source = await openCheckpoint(checkpoint);
  const candidates = [...source.tensors.keys()].filter((name) => isLinearWeight(name) || name === 'embeddings.word');
  const names = matchParameters(checked.tensors, candidates, 'prune options: tensors');
  const parameters = await source.readParameters();
  const { masks, tensors } = await magnitudeMasks(parameters, names, {
    sparsity,
    scope,
    threads,
    device,
    signal,
    onTensor: (done) =>
      onProgress?.({ step: 'prune', phase: `magnitude (${scope})`, done, total: names.length, unit: 'tensor' }),
  });
  for (const [name, mask] of masks) native.applyMask(parameters.get(name)!.data, mask);

  const recovery = checked.recover
    ? await recover({ ...source, readParameters: async () => parameters }, checked.recover, masks, context)
    : await writeCheckpoint(context.folder, {
        ...{ config: source.config, description: source.description, head: source.head },
        ...{ parameters, dtype: 'float32', tokenizerFrom: checkpoint, signal },
      });
  return {
    checkpoint: context.folder,
    metrics: recovery?.metrics ?? {},
    record: {
      ...{ kind: checked.kind, scope, wantedSparsity: sparsity, sparsity: overallSparsity(tensors), tensors },
      ...(recovery && { recovery: recovery.stages[0] }),
    },
  };
}

/** Trains the pruned checkpoint under their masks and writes the result to the step's folder. */
async function recover(
  pruned: Checkpoint,
  options: z.output<typeof recoverSchema>,
  masks: ReadonlyMap<ParameterName, Uint8Array>,
  context: StepContext,
): Promise<TrainResult> {
  const { data, seed, signal, onProgress, log } = context;
  const { batchSize, maxLength, precision, device } = options;
  const session = await openSession(pruned, {
    ...{ data, seed, maxLength, precision, device },
    task: taskOptionsOf(options),
    ...tellingRows('prune', context),
    scratchFolder: dirname(resolve(context.folder)),
  });
  const { model } = session;
  try {
    const result = await trainWithCheckpoints(
      model,
      {
        ...session.trainOptions,
        stages: [stageOf(options)],
        batchSize,
        seed,
        masks,
        step: 'prune',
        log,
        ...(onProgress && { onProgress }),
        ...(signal && { signal }),
      },
      { context, session, options, arrays: masks.values() },
    );
    checkMasks(model.toParameters(), masks);
    const metrics = await session.finish(result.metrics);
    await session.write(context.folder); // without the signal: what is trained is not thrown away
    await finishTraining(context);
    return { ...result, metrics };
  } finally {
    model.dispose();
    session.close();
  }
}

/** Training must have left every pruned weight at zero. */
function checkMasks(parameters: Parameters, masks: ReadonlyMap<ParameterName, Uint8Array>): void {
  for (const [name, mask] of masks) {
    const { data } = parameters.get(name)!;
    const grown = mask.findIndex((keep, index) => keep === 0 && data[index] !== 0);
    if (grown >= 0)
      throw new WhittleError(
        'INTERNAL',
        `Expected the pruned weight ${grown} of ${name} to stay 0 during recovery but found ${data[grown]}`,
      );
  }
}

function overallSparsity(tensors: readonly PrunedTensor[]): number {
  const zeros = tensors.reduce((sum, tensor) => sum + tensor.zeros, 0);
  const elements = tensors.reduce((sum, tensor) => sum + tensor.shape.reduce((a, b) => a * b, 1), 0);
  return elements ? zeros / elements : 0;
}
