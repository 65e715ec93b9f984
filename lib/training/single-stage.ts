/** Options of steps that train in one stage, beside options of their own: distill and the recovery of prune. */
import { trainingShape } from './options.js';
import { stageSchema, type Stage } from './stages.js';

/** Keys of a schema for a step with one stage: everything a stage takes, `all` trained unless it says otherwise. */
export function singleStageShape(defaultLearningRate: number) {
  return {
    ...trainingShape,
    ...stageSchema.shape,
    batchSize: trainingShape.batchSize,
    train: stageSchema.shape.train.default('all'),
    learningRate: stageSchema.shape.learningRate.default(defaultLearningRate),
  };
}

/** The refinement that goes with it: `z.strictObject({ ...singleStageShape(1e-4) }).refine(...epochsOrSteps)`. */
export const epochsOrSteps = [
  (options: { epochs?: number | undefined; steps?: number | undefined }) =>
    (options.epochs === undefined) !== (options.steps === undefined),
  'expected either epochs or steps',
] as const;

/** The stage out of such a step's options. */
export function stageOf(options: Stage): Stage {
  const keys = Object.entries(options).filter(([key]) => key in stageSchema.shape);
  return Object.fromEntries(keys) as unknown as Stage;
}
