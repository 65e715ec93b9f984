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
 */
export type Objective = (logits: tf.Tensor2D, batch: TrainingBatch) => tf.Scalar;

/** Mean cross-entropy against the batch's own labels. */
export const hardLabels: Objective = (logits, batch) => crossEntropy(logits, batch.labels);
