/** What a stage will do, known before it starts. */
import type { Examples } from '../data/examples.js';
import type { ModelDescription, ParameterName } from '../models/description.js';
import { DataOrder } from './data-order.js';
import { optimizerOptions, type OptimizerChoice, type OptimizerOptions } from './optimizers/options.js';
import { stageName, trainedParameters, type Stage } from './stages.js';

/** A run of steps that trains the same parameters. */
export interface Phase {
  /** 0-based step that it starts at. */
  from: number;
  /** The step after its last one. */
  to: number;
  trained: ReadonlySet<ParameterName>;
}

export interface StagePlan {
  /** 0-based. */
  index: number;
  stage: Stage;
  /** `stage 2 (layers.4-5, head)` */
  title: string;
  /** All that trains sooner or later. */
  trained: ReadonlySet<ParameterName>;
  phases: readonly Phase[];
  order: DataOrder;
  steps: number;
  warmupSteps: number;
  optimizer: OptimizerOptions;
  /** Steps from one evaluation to the next, not always whole; there is one after the last step as well. */
  evaluateEvery: number;
}

export interface PlanOptions {
  trainExamples: Examples;
  /** Sequences a batch, unless the stage says otherwise. */
  batchSize: number;
  /** Unless the stage says otherwise. */
  optimizer?: OptimizerChoice;
  seed: number;
}

/**
 * Plans a stage.
 *
 * @param index 0-based.
 * @throws WhittleError BAD_OPTION if the stage names parameters that the model lacks, or trains nothing.
 */
export function planStage(
  stage: Stage,
  index: number,
  model: { names: readonly ParameterName[]; description: Pick<ModelDescription, 'layers'> },
  { trainExamples, batchSize, optimizer = 'adamw', seed }: PlanOptions,
): StagePlan {
  const trained = trainedParameters(stage, model.names, model.description);
  const order = new DataOrder(trainExamples, {
    seed,
    stage: index,
    batchSize: stage.batchSize ?? batchSize,
    batchesPerStep: stage.gradientAccumulation,
  });
  const steps = stage.steps ?? Math.max(1, Math.round(stage.epochs! * order.stepsPerEpoch));
  return {
    ...{ index, stage, trained, order, steps },
    title: `stage ${index + 1} (${stageName(stage)})`,
    phases: [{ from: 0, to: steps, trained }],
    warmupSteps: Math.min(steps, stage.warmupSteps ?? Math.ceil(stage.warmupRatio * steps)),
    optimizer: optimizerOptions(stage.optimizer ?? optimizer),
    evaluateEvery: order.stepsPerEpoch,
  };
}

/** The phase of a 0-based step. */
export function phaseAt(plan: StagePlan, step: number): Phase {
  return plan.phases.findLast(({ from }) => from <= step)!;
}

/** True if the dev set is scored after this many steps. */
export function isEvaluatedAfter(plan: StagePlan, steps: number): boolean {
  // Intervals of parts of an epoch are not whole; the small term makes up for their rounding.
  const intervals = (count: number) => Math.floor(count / plan.evaluateEvery + 1e-9);
  return steps === plan.steps || intervals(steps) > intervals(steps - 1);
}
