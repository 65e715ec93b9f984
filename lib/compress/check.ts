/** Checks of prune and quantize options against a model's description. */
import type { z } from 'zod';
import { isLinearWeight, parameterShapes } from '../models/parameters.js';
import type { ModelFacts, StepCheck } from '../step.js';
import { checkTraining } from '../training/check.js';
import { stageOf } from '../training/single-stage.js';
import { matchKept } from './kept-weights.js';
import { matchParameters } from './parameter-patterns.js';
import type { pruneSchema } from './prune.js';
import type { quantizeSchema } from './quantize.js';

/** @returns facts of the model that the step will make. */
export function checkPrune(options: z.output<typeof pruneSchema>, input: ModelFacts, check: StepCheck): ModelFacts {
  const { tensors, recover } = options;
  check.at(['tensors'], () => matchParameters(tensors, weightsOf(input), 'tensors'));
  return recover
    ? checkTraining(recover, ['recover'], [{ stage: stageOf(recover), path: ['recover'] }], input, check)
    : input;
}

/** @returns facts of the model that the step will make. */
export function checkQuantize(
  { keep, method }: z.output<typeof quantizeSchema>,
  input: ModelFacts,
  check: StepCheck,
): ModelFacts {
  check.at(['keep'], () => matchKept(keep, method, weightsOf(input), 'keep'));
  return input;
}

function weightsOf({ description, head }: ModelFacts): string[] {
  return [...parameterShapes(description, head).keys()].filter(
    (name) => isLinearWeight(name) || name === 'embeddings.word',
  );
}
