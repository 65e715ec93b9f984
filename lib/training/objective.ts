/** What training minimizes. */
import type * as tf from '@tensorflow/tfjs-core';
import { crossEntropy } from '../backend/operations.js';
import type { RaggedBatch } from '../data/batch.js';

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
