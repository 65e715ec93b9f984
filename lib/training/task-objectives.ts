/** What each task minimizes beside the cross-entropy of classes: several labels, numbers, embeddings of pairs. */
import * as tf from '@tensorflow/tfjs-core';
import { crossEntropy } from '../backend/operations.js';
import type { Task } from '../data/dataset.js';
import { hardLabels, type Objective, type TrainingBatch } from './objective.js';

/** How embeddings learn; see `embeddingObjective`. */
export interface EmbeddingLoss {
  loss: 'multipleNegatives' | 'cosine';
  /** Cosines are multiplied by it before the softmax of `multipleNegatives`. */
  scale: number;
  /** The scores that mean cosine 0 and cosine 1 to `cosine`. */
  scoreRange: readonly [number, number];
}

/** The objective of a task. */
export function objectiveOf(task: Task, embedding: EmbeddingLoss): Objective {
  switch (task) {
    case 'multi-label-classification':
      return severalLabels;
    case 'regression':
      return squaredError;
    case 'embedding':
      return embedding.loss === 'cosine' ? cosineError(embedding.scoreRange) : multipleNegatives(embedding.scale);
    default:
      return hardLabels;
  }
}

/**
 * Mean binary cross-entropy of `logits` `[sequences, labels]` against `batch.targets`, over all sequences and labels:
 * softplus(x) - x t, as PyTorch's `BCEWithLogitsLoss`.
 */
export const severalLabels: Objective = (logits, batch) => {
  const loss = tf.customGrad((x, save) => {
    const values = x as tf.Tensor;
    const targets = targetsOf(batch, values.shape);
    (save as tf.GradSaveFunc)([values, targets]);
    const value = tf.mean(tf.sub(tf.softplus(values), tf.mul(values, targets)));
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [x, t] = saved as [tf.Tensor, tf.Tensor];
      return tf.mul(tf.div(tf.sub(tf.sigmoid(x), t), x.size), dy);
    };
    return { value, gradFunc };
  });
  return loss(logits) as tf.Scalar;
};

/** Mean squared difference of `logits` `[sequences, 1]` and `batch.targets`. */
export const squaredError: Objective = (logits, batch) =>
  tf.mean(tf.squaredDifference(logits, targetsOf(batch, logits.shape))) as tf.Scalar;

/**
 * The loss of in-batch negatives: each text is to be more similar to its own pair than to the other rows' pairs. Mean
 * cross-entropy of `scale` times the cosines `[rows, rows]`, row i's class being i.
 *
 * Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart Reply", section 4.4;
 * `MultipleNegativesRankingLoss` of sentence-transformers.
 *
 * @returns an objective of embeddings `[2 * rows, hidden]`: text and pair of each row in turn.
 */
export function multipleNegatives(scale: number): Objective {
  const objective: Objective = (embeddings) => {
    const [texts, pairs] = unitPairs(embeddings);
    const scores = tf.mul(tf.matMul(texts, pairs, false, true), scale) as tf.Tensor2D;
    return crossEntropy(
      scores,
      Int32Array.from({ length: scores.shape[0] }, (_, row) => row),
    );
  };
  objective.fewest = 2; // one pair has no negatives: its loss is 0
  return objective;
}

/**
 * Mean squared difference of the cosine of each row's texts and its score, whose range becomes 0 to 1:
 * `CosineSimilarityLoss` of sentence-transformers. Of embeddings as `multipleNegatives` takes them.
 */
export function cosineError([low, high]: readonly [number, number]): Objective {
  return (embeddings, batch) => {
    const [texts, pairs] = unitPairs(embeddings);
    const cosines = tf.sum(tf.mul(texts, pairs), 1);
    const wanted = batch.targets!.map((score) => (score - low) / (high - low));
    return tf.mean(tf.squaredDifference(cosines, tf.tensor1d(wanted))) as tf.Scalar;
  };
}

/** `[2 * rows, hidden]` to the texts' vectors and the pairs' `[rows, hidden]`, of length 1. */
function unitPairs(embeddings: tf.Tensor2D): [tf.Tensor2D, tf.Tensor2D] {
  const rows = embeddings.shape[0] / 2;
  const lengths = tf.sqrt(tf.sum(tf.square(embeddings), 1, true));
  const unit = tf.div(embeddings, tf.add(lengths, 1e-12)) as tf.Tensor2D;
  const every = (first: number) => Int32Array.from({ length: rows }, (_, row) => 2 * row + first);
  return [tf.gather(unit, tf.tensor1d(every(0), 'int32')), tf.gather(unit, tf.tensor1d(every(1), 'int32'))];
}

function targetsOf({ targets }: TrainingBatch, shape: number[]): tf.Tensor {
  return tf.tensor(targets!, shape, 'float32');
}
