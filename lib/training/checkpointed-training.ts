/** Training that saves its state now and then, and goes on from there when it is called again. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import type { StepContext } from '../step.js';
import type { TrainableModel } from './model.js';
import type { TrainingSession } from './session.js';
import { trainStages, type StepPlace, type TrainOptions, type TrainResult } from './train.js';
import {
  findTraining,
  loadTraining,
  removeTraining,
  saveTraining,
  tidyTraining,
  trainingFolder,
} from './training-checkpoint.js';

const defaultMinutes = 5;

/** When the state of a training is saved. It changes no result. */
export const checkpointRule = z
  .union(
    [
      z.literal(false),
      z.strictObject({
        /** After so many steps. */
        everySteps: z.int('expected a whole number of steps').min(1, 'expected at least 1 step').optional(),
        /** After so many minutes; 5 if neither is given. */
        everyMinutes: z.number('expected a number of minutes').positive('expected more than 0 minutes').optional(),
        /** So many, the last ones, are kept. */
        keep: z.int('expected a whole number of checkpoints').min(1, 'expected at least 1 checkpoint').default(2),
      }),
    ],
    'expected false or everySteps, everyMinutes and keep',
  )
  .default({ everyMinutes: defaultMinutes, keep: 2 });

export type CheckpointRule = z.output<typeof checkpointRule>;

/** The step that a training belongs to. */
export interface TrainingStep {
  context: StepContext;
  session: TrainingSession;
  /** Of the step, checked. */
  options: { checkpoint: CheckpointRule };
  /** Further arrays that the training depends on: masks, soft labels. */
  arrays?: Iterable<ArrayBufferView>;
}

/**
 * Trains a model as `trainStages` does. The state is saved by the rule beside the step's folder, and before a signal
 * stops the training; where a state of the same training is found, the training goes on from it and ends with the same
 * weights, bit for bit.
 *
 * The saved states stay until `finishTraining`, or until a run notes that the step is done. Those of a training that
 * diverged are removed, since it would diverge again.
 *
 * @throws WhittleError as trainStages does; IO if a state cannot be written; BAD_CHECKPOINT if one cannot be read.
 */
export async function trainWithCheckpoints(
  model: TrainableModel,
  options: TrainOptions,
  trainingStep: TrainingStep,
): Promise<TrainResult> {
  const { context } = trainingStep;
  const rule = trainingStep.options.checkpoint;
  const folder = trainingFolder(context.folder);
  await tidyTraining(folder);
  const hash = context.hash ?? fingerprint(trainingStep, options);
  const { saved } = await findTraining(folder);
  const from = saved?.hash === hash ? await loadTraining(saved) : undefined;
  if (!from) await removeTraining(folder);

  const started = performance.now();
  let records = from ? saved!.records : 0;
  let lastSave = started;
  let stepsSince = 0;
  let lastPlace = from ? `${from.progress.stage}/${from.progress.step}` : '0/0';
  const { everySteps = Infinity, everyMinutes = everySteps === Infinity ? defaultMinutes : Infinity } = rule || {};
  const save = async ({ stage, step, capture }: StepPlace) => {
    const seconds = (from ? saved!.seconds : 0) + (performance.now() - started) / 1000;
    if (rule) await saveTraining(folder, capture(), { hash, seconds, records }, rule.keep);
    lastSave = performance.now();
    stepsSince = 0;
    lastPlace = `${stage}/${step}`;
  };
  try {
    return await trainStages(model, {
      ...options,
      ...(context.onStep && { onStep: context.onStep }),
      ...(context.onNote && { onNote: context.onNote }),
      ...(from && { from }),
      log: (record) => {
        options.log?.(record);
        records++;
      },
      afterStep: async (place) => {
        stepsSince++;
        await options.afterStep?.(place);
        if (stepsSince >= everySteps || performance.now() - lastSave >= everyMinutes * 60_000) await save(place);
      },
      beforeAbort: async (place) => {
        if (lastPlace !== `${place.stage}/${place.step}`) await save(place);
      },
    });
  } catch (error) {
    if (error instanceof WhittleError && error.code === 'DIVERGED') await removeTraining(folder);
    throw error;
  }
}

/** Removes the saved states of a step that is done, unless a run will do it. */
export async function finishTraining({ hash, folder }: StepContext): Promise<void> {
  if (hash === undefined) await removeTraining(trainingFolder(folder));
}

/** A hash of everything that the result of a training depends on. */
function fingerprint({ session, options, arrays = [] }: TrainingStep, { seed, devExamples }: TrainOptions): string {
  const hash = createHash('sha256');
  const add = (view: ArrayBufferView) =>
    hash.update(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)).update('/');
  const { model, trainExamples } = session;
  hash.update(JSON.stringify([{ ...options, checkpoint: undefined }, seed, model.head, session.precision]));
  for (const [name, { data }] of model.toParameters()) add(data).update(name);
  for (const examples of [trainExamples, devExamples])
    for (const { inputIds, ...rest } of examples) {
      add(inputIds);
      for (const value of Object.values(rest))
        if (ArrayBuffer.isView(value)) add(value);
        else hash.update(JSON.stringify(value ?? null));
    }
  for (const array of arrays) add(array);
  return hash.digest('hex');
}
