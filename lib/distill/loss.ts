/** The distillation loss: soft labels of teachers beside hard labels. */
import * as tf from '@tensorflow/tfjs-core';
import type { Task } from '../data/dataset.js';
import { hardLabels, labelledRows, type Objective, type TrainingBatch } from '../training/objective.js';
import type { SoftLabels } from './soft-labels.js';

/**
 * alpha * CE(labels, student) + (1 - alpha) * T^2 * KL(softmax(teacher / T) || softmax(student / T)), each the mean over
 * the batch's rows (text classification) or labelled tokens (token classification). T^2 keeps the soft part's gradient
 * of the same size whatever the temperature is.
 *
 * Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.
 *
 * @param softLabels of the training rows, in the order that `batch.indices` counts.
 * @param options `alpha` is the weight of the hard labels, 0 to 1; `task` says what a row of the logits is; `hard` is
 *   the loss of the hard labels, plain cross-entropy unless given.
 * @example
 * const softLabels = mixTeachers(teachers, labels.length, 2);
 * const objective = distillationLoss(softLabels, { alpha: 0.5, task: 'text-classification' });
 * await trainStages(model, { ...options, objective });
 */
export function distillationLoss(
  softLabels: SoftLabels,
  { alpha, task, hard = hardLabels }: { alpha: number; task: Task; hard?: Objective },
): Objective {
  const objective: Objective = (logits, batch) =>
    tf.tidy(() => {
      if (alpha === 1) return hard(logits, batch);
      const soft = tf.mul(softLoss(logits, batch, softLabels, task), 1 - alpha);
      return (alpha === 0 ? soft : tf.add(soft, tf.mul(hard(logits, batch), alpha))) as tf.Scalar;
    });
  objective.weightOf = alpha === 0 ? labelledRows : (hard.weightOf ?? labelledRows);
  if (hard.copies) objective.copies = hard.copies;
  return objective;
}

/** T^2 * mean KL over the positions that have soft labels. */
function softLoss(logits: tf.Tensor2D, batch: TrainingBatch, softLabels: SoftLabels, task: Task): tf.Scalar {
  const { temperature, labels } = softLabels;
  const { targets, negativeEntropy, count } = batchTargets(batch, logits.shape[0], softLabels, task);
  const scale = temperature ** 2 / Math.max(1, count);
  const student = tf.logSoftmax(tf.div(logits, temperature));
  const crossed = tf.sum(tf.mul(student, tf.tensor2d(targets, [logits.shape[0], labels])));
  return tf.mul(tf.sub(negativeEntropy, crossed), scale) as tf.Scalar;
}

/** The soft labels of a batch in the layout of its logits: `[rows of logits, labels]`, zeros where there are none. */
function batchTargets(batch: TrainingBatch, rows: number, softLabels: SoftLabels, task: Task) {
  const { labels, probabilities, negativeEntropies } = softLabels;
  const targets = new Float32Array(rows * labels);
  let negativeEntropy = 0;
  let count = 0;
  batch.indices.forEach((index, sequence) => {
    const source = probabilities[index]!;
    const entropies = negativeEntropies[index]!;
    const places = task === 'token-classification' ? labelledTokens(batch, sequence) : [sequence];
    places.slice(0, entropies.length).forEach((place, position) => {
      targets.set(source.subarray(position * labels, (position + 1) * labels), place * labels);
      negativeEntropy += entropies[position]!;
      count++;
    });
  });
  return { targets, negativeEntropy, count };
}

/** Positions in the batch of a sequence's tokens that have a label. */
function labelledTokens({ offsets, labels }: TrainingBatch, sequence: number): number[] {
  const places: number[] = [];
  for (let token = offsets[sequence]!; token < offsets[sequence + 1]!; token++)
    if (labels[token] !== -100) places.push(token);
  return places;
}
