/** What training minimizes. */
import type * as tf from '@tensorflow/tfjs-core';
import { crossEntropy } from '../backend/operations.js';
import { WhittleError } from '../../bindings/errors.js';
import type { Example, RaggedBatch } from '../data/batch.js';
import type { TaskHead } from '../models/description.js';
import { classLoss, rowWeights } from './losses/class-loss.js';
import { differentiable, type LossAndGradient } from './losses/differentiable.js';
import { classWeightsOf, isPlainLoss, type LossOptions } from './losses/options.js';
import { dropoutDivergence } from './losses/r-drop.js';

/** A batch of training examples, and which rows of the train set they are. */
export interface TrainingBatch extends RaggedBatch {
  /** `[sequences]` positions in the train set, for looking up what was computed once a row, such as teacher logits. */
  indices: Int32Array;
}

/**
 * The loss of a batch, a scalar that tfjs can differentiate with respect to `logits`: `[sequences, labels]` for text
 * classification, `[tokens, labels]` for token classification. Tokens without a label have -100 in `batch.labels`.
 *
 * It is a mean over what the batch counts. Where a step accumulates several batches, the step's loss is the mean over
 * all of them: each batch's weighs as much as `weightOf` says.
 */
export interface Objective {
  (logits: tf.Tensor2D, batch: TrainingBatch): tf.Scalar;
  /** The denominator of the batch's mean; `labelledRows` unless given. */
  weightOf?: (batch: TrainingBatch) => number;
  /** How often a batch holds each of its sequences: all of them once, then all of them again. 1 unless given. */
  copies?: number;
}

/** How many labels a batch has, or sequences if it has none. */
export function labelledRows({ labels, indices }: TrainingBatch): number {
  if (labels.length === 0) return indices.length;
  return labels.reduce((count, label) => (label === -100 ? count : count + 1), 0);
}

/** Mean cross-entropy against the batch's own labels. */
export const hardLabels: Objective = (logits, batch) => crossEntropy(logits, batch.labels);

/**
 * What a stage minimizes: the loss of the head's task, changed as the options say.
 *
 * @param trainExamples are counted for balanced class weights.
 * @param plain the task's loss where the options change nothing; cross-entropy of classes by default.
 * @throws WhittleError BAD_OPTION for options that do not suit the task or its labels.
 * @example
 * const objective = objectiveFor(lossSchema.parse({ labelSmoothing: 0.1, classWeights: 'balanced' }), head, examples);
 */
export function objectiveFor(
  loss: LossOptions,
  head: TaskHead,
  trainExamples: Iterable<Example>,
  plain: Objective = hardLabels,
): Objective {
  const { task, labels } = head;
  if (isPlainLoss(loss)) return plain;
  if (task !== 'text-classification' && task !== 'token-classification')
    throw new WhittleError(
      'BAD_OPTION',
      `expected no labelSmoothing, classWeights, focalGamma or rDrop, which are for classes, in a stage of ${task}`,
    );
  return classObjective(loss, classWeightsOf(loss.classWeights, labels, countLabels(trainExamples, labels.length)));
}

/** Cross-entropy with everything that the options of a loss can ask for. */
function classObjective(options: LossOptions, classWeights: Float32Array | undefined): Objective {
  const { labelSmoothing, focalGamma, rDrop } = options;
  const terms = { labelSmoothing, focalGamma, ...(classWeights && { classWeights }) };
  const objective: Objective = (logits, { labels }) =>
    differentiable(logits, (values) => {
      const classes = logits.shape[1];
      const hard = classLoss(values, labels, classes, terms);
      if (rDrop === 0) return hard;
      const weights = rowWeights(labels.subarray(0, labels.length / 2), classWeights);
      return addScaled(hard, rDrop, dropoutDivergence(values, weights, classes));
    });
  objective.weightOf = ({ labels }) => rowWeights(labels, classWeights).reduce((sum, weight) => sum + weight, 0);
  if (rDrop > 0) objective.copies = 2;
  return objective;
}

/** `first + factor * second` */
function addScaled(first: LossAndGradient, factor: number, second: LossAndGradient): LossAndGradient {
  return {
    loss: first.loss + factor * second.loss,
    gradient: first.gradient.map((value, at) => value + factor * second.gradient[at]!),
  };
}

/** `[classes]` how often each label occurs. */
function countLabels(examples: Iterable<Example>, classes: number): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (const { label, tokenLabels } of examples)
    for (const one of tokenLabels ?? (label === undefined ? [] : [label])) if (one !== -100) counts[one]!++;
  return counts;
}
