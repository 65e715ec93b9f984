/** What training minimizes. */
import type * as tf from '@tensorflow/tfjs-core';
import { crossEntropy } from '../backend/operations.js';
import { WhittleError } from '../../bindings/errors.js';
import type { Example, RaggedBatch } from '../data/batch.js';
import type { TaskHead } from '../models/description.js';
import { classLoss, rowWeights } from './losses/class-loss.js';
import { differentiable, type LossAndGradient } from './losses/differentiable.js';
import { labelLoss, passDifference } from './losses/label-loss.js';
import { classWeightsOf, isPlainLoss, positiveWeightsOf, type LossOptions } from './losses/options.js';
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
  /** Of what is compared within a batch: the least that makes a comparison. 1 sequence, or pair of texts, unless given. */
  fewest?: number;
}

/** @throws WhittleError BAD_OPTION for batches in which there is nothing to compare. */
export function checkBatchSize({ fewest = 1 }: Objective, batchSize: number): void {
  if (batchSize < fewest)
    throw new WhittleError(
      'BAD_OPTION',
      `batchSize: expected at least ${fewest}, since the loss compares the rows of a batch, but found ${batchSize}`,
    );
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
  switch (task) {
    case 'text-classification':
    case 'token-classification':
      return classObjective(loss, classWeightsOf(loss.classWeights, labels, countLabels(trainExamples, labels.length)));
    case 'multi-label-classification': {
      const { counts, rows } = countTargets(trainExamples, labels.length);
      return labelObjective(loss, positiveWeightsOf(loss.classWeights, labels, counts, rows));
    }
    case 'regression':
      checkRegressionLoss(loss);
      return numberObjective(loss);
    case 'embedding':
      throw new WhittleError('BAD_OPTION', 'loss: expected none of its options, which are not for embeddings');
  }
}

/** Binary cross-entropy with everything that the options of a loss can ask for. */
function labelObjective(options: LossOptions, positiveWeights: Float32Array | undefined): Objective {
  const { labelSmoothing, focalGamma, rDrop } = options;
  const terms = { labelSmoothing, focalGamma, ...(positiveWeights && { positiveWeights }) };
  const objective: Objective = (logits, { targets }) =>
    differentiable(logits, (values) => {
      const hard = labelLoss(values, targets!, logits.shape[1], terms);
      return rDrop === 0 ? hard : addScaled(hard, rDrop, passDifference(values, 'labels'));
    });
  if (rDrop > 0) objective.copies = 2;
  return objective;
}

/** Mean squared error with R-Drop. */
function numberObjective({ rDrop }: LossOptions): Objective {
  const objective: Objective = (outputs, { targets }) =>
    differentiable(outputs, (values) => {
      const errors = values.map((value, at) => value - targets![at]!);
      const loss = errors.reduce((sum, error) => sum + error * error, 0) / errors.length;
      const gradient = errors.map((error) => (2 * error) / errors.length);
      return addScaled({ loss, gradient }, rDrop, passDifference(values, 'numbers'));
    });
  objective.copies = 2;
  return objective;
}

function checkRegressionLoss({ labelSmoothing, classWeights, focalGamma }: LossOptions): void {
  const forLabels = Object.entries({ labelSmoothing, classWeights, focalGamma }).find(([, value]) => value);
  if (forLabels)
    throw new WhittleError('BAD_OPTION', `loss: expected no ${forLabels[0]}, which is for labels, in a regression`);
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

/** `[labels]` how many rows have each label, of how many. */
function countTargets(examples: Iterable<Example>, labels: number): { counts: number[]; rows: number } {
  const counts = new Array<number>(labels).fill(0);
  let rows = 0;
  for (const { target } of examples) {
    rows++;
    target?.forEach((value, label) => (counts[label]! += value));
  }
  return { counts, rows };
}
