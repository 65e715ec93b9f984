/** Distillation of what is no distribution over classes: several labels, numbers, embeddings. */
import * as tf from '@tensorflow/tfjs-core';
import type { Task } from '../data/dataset.js';
import { sigmoid } from '../predict/decode.js';
import { labelledRows, type Objective } from '../training/objective.js';
import { severalLabels } from '../training/task-objectives.js';
import type { TeacherLogits } from './soft-labels.js';

/** What the teachers say of each training example, mixed by weight. */
export type SoftTargets = Float32Array[];

/**
 * Mixes teachers: for several labels the mean of sigmoid(logit / temperature), for numbers the mean of them, for
 * embeddings the mean of the vectors, all scaled to length 1.
 *
 * @param teachers with weights in any unit; rows `[labels]`, `[1]` or `[hidden]`.
 */
export function mixTargets(teachers: readonly TeacherLogits[], task: Task, temperature: number): SoftTargets {
  const total = teachers.reduce((sum, { weight }) => sum + weight, 0);
  const read: Partial<Record<Task, (row: Float32Array) => Float32Array>> = {
    'multi-label-classification': (row) => row.map((logit) => sigmoid(logit / temperature)),
    embedding: unit,
  };
  const mixed = teachers[0]!.rows.map((first) => new Float32Array(first.length));
  for (const { weight, rows } of teachers)
    rows.forEach((row, index) => {
      const values = read[task]?.(row) ?? row;
      mixed[index]!.forEach((_, at) => (mixed[index]![at]! += (weight / total) * values[at]!));
    });
  return task === 'embedding' ? mixed.map(unit) : mixed;
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? vector : vector.map((value) => value / length);
}

/**
 * alpha * (the task's own loss) + (1 - alpha) * (loss against the teachers), where the latter is, each a mean over the
 * batch: for several labels T^2 times the binary cross-entropy of logits / T against the teachers' probabilities; for
 * numbers the squared difference; for embeddings the squared distance of the vectors scaled to length 1.
 *
 * @param targets of the training examples, in the order that `batch.indices` counts.
 * @param options `hard` is the task's own loss.
 */
export function targetLoss(
  targets: SoftTargets,
  { task, alpha, temperature, hard }: { task: Task; alpha: number; temperature: number; hard: Objective },
): Objective {
  const soft: Objective = (logits, batch) => {
    const wanted = new Float32Array(logits.size);
    batch.indices.forEach((index, row) => wanted.set(targets[index]!, row * logits.shape[1]));
    if (task === 'multi-label-classification') {
      const scaled = tf.div(logits, temperature) as tf.Tensor2D;
      return tf.mul(severalLabels(scaled, { ...batch, targets: wanted }), temperature ** 2) as tf.Scalar;
    }
    const teacher = tf.tensor2d(wanted, logits.shape);
    const student = task === 'embedding' ? unitRows(logits) : logits;
    return tf.div(tf.sum(tf.squaredDifference(student, teacher)), logits.shape[0]) as tf.Scalar;
  };
  const objective: Objective = (logits, batch) =>
    tf.tidy(() => {
      if (alpha === 1) return hard(logits, batch);
      const part = tf.mul(soft(logits, batch), 1 - alpha);
      return (alpha === 0 ? part : tf.add(part, tf.mul(hard(logits, batch), alpha))) as tf.Scalar;
    });
  objective.weightOf = hard.weightOf ?? labelledRows;
  return objective;
}

function unitRows(vectors: tf.Tensor2D): tf.Tensor2D {
  const lengths = tf.sqrt(tf.sum(tf.square(vectors), 1, true));
  return tf.div(vectors, tf.add(lengths, 1e-12));
}
