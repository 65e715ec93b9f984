/** The training loop: stages, one after the other. */
import { WhittleError } from '../../bindings/errors.js';
import { native } from '../../bindings/load.js';
import type { Example } from '../data/batch.js';
import { idsOf, type Examples } from '../data/examples.js';
import type { ParameterName } from '../models/description.js';
import type { OnStep, ProgressEvent } from '../step.js';
import type { DevMetrics } from './dev.js';
import { checkMetric } from './early-stopping.js';
import type { CurvePoint } from './loss-curve.js';
import type { TrainableModel } from './model.js';
import { plainLoss } from './losses/options.js';
import { checkBatchSize, objectiveFor, type Objective } from './objective.js';
import { leavesUnusedRows, type OptimizerChoice } from './optimizers/options.js';
import { valuesOf } from './parameter-values.js';
import { planStage, type StagePlan } from './stage-plan.js';
import { StageRun, type Earlier } from './stage-run.js';
import { inStage, type Stage } from './stages.js';
import type { TrainingState } from './training-state.js';

export type { DevMetrics } from './dev.js';
export type { Objective, TrainingBatch } from './objective.js';
export type { TrainingProgress, TrainingState } from './training-state.js';

export interface TrainOptions {
  stages: readonly Stage[];
  trainExamples: Examples;
  /** Without any, no stage may stop early. */
  devExamples: readonly Example[];
  /**
   * Scores the dev examples from their logits, one array an example: `[labels]`, or `[tokens, labels]`. `loss`, the
   * mean cross-entropy, is there without it.
   */
  evaluateDev?: DevMetrics;
  /** Sequences a step, unless the stage says otherwise. */
  batchSize: number;
  /** Unless the stage says otherwise; AdamW by default. */
  optimizer?: OptimizerChoice;
  /** Examples one after the other that stay in one batch and count as one sequence: 2 for pairs of texts to embed. */
  together?: number;
  seed: number;
  /** In place of what the stages' own `loss` options ask for: cross-entropy against the batch's labels by default. */
  objective?: Objective;
  /** The plain loss of the task, for stages that change nothing of it and for the dev set; cross-entropy by default. */
  taskObjective?: Objective;
  /** Where a mask is 0, its parameter is held at 0 throughout. */
  masks?: ReadonlyMap<ParameterName, Uint8Array>;
  /** Name of the recipe step in progress events; `finetune` by default. */
  step?: string;
  onProgress?: (event: ProgressEvent) => void;
  onStep?: OnStep;
  /** Takes what may not be what the user wants, one sentence each. */
  onNote?: (message: string) => void;
  signal?: AbortSignal;
  /** Takes one record a stage's evaluation, for metrics.jsonl. */
  log?: (record: Record<string, unknown>) => void;
  /** Called between steps, after the evaluation if there was one; awaited. */
  afterStep?: (place: StepPlace) => void | Promise<void>;
  /** Called when the signal stops the run, before it rejects; awaited. */
  beforeAbort?: (place: StepPlace) => void | Promise<void>;
  /** Goes on from here. Stages, data, seed and model must be those of the run that it was captured from. */
  from?: TrainingState;
}

/** A place between two steps of a run. */
export interface StepPlace {
  /** 0-based. */
  stage: number;
  /** Steps of the stage that are done. */
  step: number;
  /**
   * The state at this place. Its arrays are those that the run goes on with: copy or write them before `afterStep`
   * returns, or before its promise resolves.
   */
  capture: () => TrainingState;
}

/** What one stage did. */
export interface StageRecord {
  train: string;
  steps: number;
  epochs: number;
  tokens: number;
  /** Of training steps alone, and with evaluations and the computing of frozen outputs. */
  trainingSeconds: number;
  seconds: number;
  tokensPerSecond: number;
  /** Mean loss over runs of steps, at most 200 of them. */
  curve: CurvePoint[];
  evaluations: { step: number; epoch: number; metrics: Record<string, number> }[];
  /** True if it ended before its last step: by early stopping, or because `onStep` said so. */
  stoppedEarly: boolean;
  /** The evaluation whose weights the stage ended with: the best with early stopping, else the last. */
  kept: { step: number; metrics: Record<string, number> } | undefined;
}

export interface TrainResult {
  stages: StageRecord[];
  /** Dev metrics of the weights that the last stage ended with. */
  metrics: Record<string, number>;
}

/**
 * Trains a model through its stages in place.
 *
 * Frozen parameters cost nothing: layers below the lowest trained one are run once an example and their outputs kept,
 * with dropout off. The same seed on the same machine gives the same weights, bit for bit.
 *
 * @throws WhittleError BAD_OPTION for a stage that trains nothing or names layers that the model lacks; BAD_DATA
 *   without training examples or for labels outside the head's; DIVERGED when the loss or gradient is no longer finite,
 *   naming step and learning rate (the model is then as at its last evaluation, or as the stage began); ABORTED.
 * @example
 * const model = new TrainableModel({ description, head, parameters, seed: 13 });
 * const stages = [stageSchema.parse({ train: 'all', epochs: 3, learningRate: 2e-4 })];
 * const result = await trainStages(model, { stages, trainExamples, devExamples, batchSize: 32, seed: 13 });
 * result.metrics.loss;
 */
export async function trainStages(model: TrainableModel, options: TrainOptions): Promise<TrainResult> {
  const { stages, trainExamples, devExamples, from } = options;
  checkExamples(model, trainExamples);
  const named = { names: [...model.parameters.keys()], layers: model.description.layers };
  const plans = stages.map((stage, index) => planStage(stage, index, named, options));
  for (const plan of plans) checkEarlyStopping(plan, options);
  const objectives = plans.map((plan) => options.objective ?? stageObjective(plan, model, options));
  for (const [index, { stage, title }] of plans.entries())
    try {
      checkBatchSize(objectives[index]!, stage.batchSize ?? options.batchSize);
    } catch (error) {
      throw inStage(title, error);
    }
  if (!from) checkWeights(model);
  if (leaveUnusedWords(plans)) model.restrictVocabulary([...idsOf(trainExamples), ...idsOf(devExamples)]);
  try {
    const start = from?.progress.stage ?? 0;
    const records = structuredClone(from?.progress.finished ?? []);
    const trained = new Set(plans.slice(0, start).flatMap((plan) => [...plan.trained]));
    let passes = 0;
    for (const plan of plans.slice(start)) {
      const earlier: Earlier = { records, trained, passes };
      const within = plan.index === start ? from : undefined;
      const run = new StageRun(model, options, plan, objectives[plan.index]!, earlier, within);
      records.push(await run.run());
      passes = run.passes;
      for (const name of plan.trained) trained.add(name);
    }
    return { stages: records, metrics: records.at(-1)?.kept?.metrics ?? {} };
  } finally {
    model.releaseVocabulary();
  }
}

/** True if words are trained, and never in a way that changes those that the rows do not use. */
function leaveUnusedWords(plans: readonly StagePlan[]): boolean {
  const words = plans.filter(({ trained }) => trained.has('embeddings.word'));
  return (
    words.length > 0 &&
    words.every(({ optimizer, rates }) => leavesUnusedRows(optimizer, rates.get('embeddings.word')!.weightDecay))
  );
}

function stageObjective({ stage, title }: StagePlan, model: TrainableModel, options: TrainOptions): Objective {
  try {
    return objectiveFor(stage.loss ?? plainLoss, model.head, options.trainExamples, options.taskObjective);
  } catch (error) {
    throw inStage(title, error);
  }
}

function checkEarlyStopping({ stage, title }: StagePlan, { devExamples, evaluateDev }: TrainOptions): void {
  if (!stage.earlyStopping) return;
  if (devExamples.length === 0)
    throw new WhittleError('BAD_DATA', `${title}: early stopping expects dev rows but found none`);
  const names = evaluateDev ? evaluateDev.names && ['loss', ...evaluateDev.names()] : ['loss'];
  if (!names) return;
  try {
    checkMetric(stage.earlyStopping.metric, names);
  } catch (error) {
    throw inStage(title, error);
  }
}

/** Training cannot mend what is not a number already. */
function checkWeights(model: TrainableModel): void {
  for (const [name, variable] of model.parameters) {
    // The sum of squares is infinite or not a number if one of them is; a single pass at the speed of the memory.
    if (Number.isFinite(native.gradientNorm([{ gradient: valuesOf(variable) }]))) continue;
    const bad = valuesOf(variable).findIndex((value) => !Number.isFinite(value));
    if (bad >= 0)
      throw new WhittleError(
        'BAD_CHECKPOINT',
        `the model that training starts from: expected finite weights but found ${valuesOf(variable)[bad]} at element ${bad} of ${name}`,
      );
  }
}

function checkExamples(model: TrainableModel, examples: Examples): void {
  if (examples.length === 0)
    throw new WhittleError('BAD_DATA', 'Expected rows to train on but the train split has none');
  if (examples.vocabulary) return; // checked when they were written
  const classes = model.head.labels.length;
  const perToken = model.head.task === 'token-classification';
  let row = 0;
  for (const example of examples) {
    row++;
    const labels = perToken ? (example.tokenLabels ?? []) : example.label === undefined ? [] : [example.label];
    for (const label of labels)
      if (label !== -100 && !(label >= 0 && label < classes))
        throw new WhittleError(
          'BAD_DATA',
          `Training row ${row}: expected a label id below ${classes} but found ${label}`,
        );
  }
}
