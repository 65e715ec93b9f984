/** Scores a model that is being trained on the dev set. */
import * as tf from '@tensorflow/tfjs-core';
import { raggedBatch, type Example } from '../data/batch.js';
import { headKind, outputWidth } from '../models/description.js';
import type { FrozenCache } from './frozen-cache.js';
import { evaluation, type TrainableModel } from './model.js';
import type { Objective } from './objective.js';

/**
 * Metrics by name from the dev examples' logits: one array an example, `[labels]` (heads of sequences), `[tokens, labels]`
 * (token classification) or `[hidden]` (embeddings).
 */
export interface DevMetrics {
  (logits: readonly Float32Array[]): Record<string, number> | Promise<Record<string, number>>;
  /** The names, if they are known before there are logits. */
  names?: () => readonly string[];
}

/** Even, so that pairs stay together. */
const sequencesAtOnce = 64;

/**
 * The logits of each example, in order.
 * @param onBatch called before every batch; awaited.
 */
export async function predictLogits(
  model: TrainableModel,
  examples: readonly Example[],
  cache?: FrozenCache,
  onBatch?: () => Promise<void>,
): Promise<Float32Array[]> {
  const perToken = headKind(model.head.task) === 'token';
  const labels = outputWidth(model.description, model.head);
  const result: Float32Array[] = [];
  for (let start = 0; start < examples.length; start += sequencesAtOnce) {
    await onBatch?.();
    const slice = examples.slice(start, start + sequencesAtOnce);
    const batch = raggedBatch(slice);
    const frozen = cache?.batch(slice.map((_, index) => start + index));
    const logits = tf.tidy(() => model.forward(batch, evaluation, frozen));
    const values = logits.dataSync() as Float32Array;
    for (let sequence = 0; sequence < slice.length; sequence++) {
      const [from, to] = perToken ? [batch.offsets[sequence]!, batch.offsets[sequence + 1]!] : [sequence, sequence + 1];
      result.push(values.slice(from * labels, to * labels));
    }
    tf.dispose([logits, ...(frozen ? [frozen.hidden] : [])]);
  }
  return result;
}

/**
 * The metrics of `score`, and `loss`.
 * @param objective the task's plain loss; without it the cross-entropy of classes.
 */
export async function evaluateExamples(
  model: TrainableModel,
  examples: readonly Example[],
  cache: FrozenCache | undefined,
  score: DevMetrics | undefined,
  objective: Objective | undefined,
  onBatch: () => Promise<void>,
): Promise<Record<string, number>> {
  const logits = await predictLogits(model, examples, cache, onBatch);
  const isOfClasses = examples.some(({ label, tokenLabels }) => label !== undefined || tokenLabels);
  const loss =
    isOfClasses || !objective
      ? meanCrossEntropy(logits, examples, model.head.labels.length)
      : meanLoss(logits, examples, objective);
  return { loss, ...(await score?.(logits)) };
}

/** Mean of an objective over runs of examples, each weighing as many as it has. */
function meanLoss(logits: readonly Float32Array[], examples: readonly Example[], objective: Objective): number {
  let sum = 0;
  for (let start = 0; start < examples.length; start += sequencesAtOnce) {
    const slice = examples.slice(start, start + sequencesAtOnce);
    const indices = Int32Array.from(slice, (_, index) => start + index);
    const value = tf.tidy(() => {
      const rows = logits.slice(start, start + sequencesAtOnce);
      const output = tf.tensor2d(Float32Array.from(rows.flatMap((row) => [...row])), [rows.length, rows[0]!.length]);
      return objective(output, { ...raggedBatch(slice), indices }).dataSync()[0]!;
    });
    sum += value * slice.length;
  }
  return sum / Math.max(1, examples.length);
}

/** Over all labelled rows or tokens. */
function meanCrossEntropy(logits: readonly Float32Array[], examples: readonly Example[], classes: number): number {
  let sum = 0;
  let counted = 0;
  examples.forEach(({ label, tokenLabels }, index) => {
    const labels = tokenLabels ?? (label === undefined ? [] : [label]);
    labels.forEach((wanted: number, row: number) => {
      if (wanted === -100) return;
      const scores = logits[index]!.subarray(row * classes, (row + 1) * classes);
      const largest = scores.reduce((a, b) => Math.max(a, b));
      const total = scores.reduce((total, score) => total + Math.exp(score - largest), 0);
      sum += Math.log(total) + largest - scores[wanted]!;
      counted++;
    });
  });
  return sum / Math.max(1, counted);
}
