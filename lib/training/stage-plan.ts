/** What a stage will do, known before it starts. */
import type { Examples } from '../data/examples.js';
import type { ParameterName } from '../models/description.js';
import { DataOrder } from './data-order.js';
import { intervalInSteps } from './interval.js';
import { optimizerOptions, type OptimizerChoice, type OptimizerOptions } from './optimizers/options.js';
import type { NamedModel } from './parameter-groups.js';
import { stageParameters, type ParameterRates } from './stage-parameters.js';
import { stageTitle, type Stage } from './stages.js';

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
  /** One after the other, without a gap. */
  phases: readonly Phase[];
  rates: ReadonlyMap<ParameterName, ParameterRates>;
  order: DataOrder;
  steps: number;
  warmupSteps: number;
  optimizer: OptimizerOptions;
  /** Steps from one evaluation to the next, not always whole; there is one after the last step as well. */
  evaluateEvery: number;
  /** What the user may not have meant, one sentence each. */
  notes: string[];
}

export interface PlanOptions {
  trainExamples: Examples;
  /** Sequences a batch, unless the stage says otherwise. */
  batchSize: number;
  /** Unless the stage says otherwise. */
  optimizer?: OptimizerChoice;
  /** As DataOrderOptions has it. */
  together?: number;
  seed: number;
}

/**
 * Plans a stage.
 *
 * @param index 0-based.
 * @throws StageError if the stage names parameters that the model lacks, or trains nothing.
 */
export function planStage(stage: Stage, index: number, model: NamedModel, options: PlanOptions): StagePlan {
  const { trainExamples, together = 1, optimizer = 'adamw', seed } = options;
  const { waves, rates } = stageParameters(stage, index, model);
  const batchSize = stage.batchSize ?? options.batchSize;
  const batchesPerStep = stage.gradientAccumulation;
  const order = new DataOrder(trainExamples, {
    ...{ seed, stage: index, batchSize, batchesPerStep, together },
    groupByLength: stage.groupByLength,
  });
  const { stepsPerEpoch } = order;
  const steps = stage.steps ?? Math.max(1, Math.round(stage.epochs! * stepsPerEpoch));
  const every = stage.unfreeze ? Math.max(1, Math.round(intervalInSteps(stage.unfreeze.every, stepsPerEpoch))) : steps;
  const phases = waves
    .map((trained, wave): Phase => ({ from: wave * every, to: Math.min(steps, (wave + 1) * every), trained }))
    .filter(({ from }) => from < steps);
  phases.at(-1)!.to = steps;
  const title = stageTitle(stage, index);
  const notes: string[] = [];
  const rows = trainExamples.length / together;
  if (batchSize * batchesPerStep > rows)
    notes.push(
      `${title}: a step takes ${batchSize * batchesPerStep} rows, but there are ${rows} to train on: each epoch is one step`,
    );
  if (phases.length < waves.length)
    notes.push(
      `${title}: ends after ${steps} steps, with ${waves.length - phases.length} of ${waves.length} layers still to unfreeze`,
    );
  const warmupSteps = warmupOf(stage, steps);
  if (stage.warmupSteps !== undefined && stage.warmupSteps > warmupSteps)
    notes.push(`${title}: the warm-up takes ${warmupSteps} steps, not ${stage.warmupSteps}: there are ${steps} in all`);
  return {
    ...{ index, stage, title, order, steps, phases, rates, notes, warmupSteps },
    trained: phases.at(-1)!.trained,
    optimizer: optimizerOptions(stage.optimizer ?? optimizer),
    evaluateEvery: stage.evaluateEvery ? intervalInSteps(stage.evaluateEvery, stepsPerEpoch) : stepsPerEpoch,
  };
}

/** Steps of the warm-up: not all, so that a stage of one step, whose warm-up would begin at rate 0, trains. */
function warmupOf({ schedule, warmupSteps, warmupRatio }: Stage, steps: number): number {
  const kind = typeof schedule === 'string' ? schedule : schedule.kind;
  // The last step of one-cycle's warm-up is the one at the full rate.
  const most = kind === 'one-cycle' ? steps : steps - 1;
  return Math.min(most, warmupSteps ?? Math.ceil(warmupRatio * steps));
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
