/** Scores a model that is being trained on the dev set. */
import * as tf from '@tensorflow/tfjs-core';
import { raggedBatch, type Example } from '../data/batch.js';
import type { FrozenCache } from './frozen-cache.js';
import { evaluation, type TrainableModel } from './model.js';

/**
 * Metrics by name from the dev examples' logits: one array an example, `[labels]` (text classification) or
 * `[tokens, labels]` (token classification).
 */
export interface DevMetrics {
  (logits: readonly Float32Array[]): Record<string, number> | Promise<Record<string, number>>;
  /** The names, if they are known before there are logits. */
  names?: () => readonly string[];
}

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
  const perToken = model.head.task === 'token-classification';
  const labels = model.head.labels.length;
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

/** The metrics of `score`, and `loss`. */
export async function evaluateExamples(
  model: TrainableModel,
  examples: readonly Example[],
  cache: FrozenCache | undefined,
  score: DevMetrics | undefined,
  onBatch: () => Promise<void>,
): Promise<Record<string, number>> {
  const logits = await predictLogits(model, examples, cache, onBatch);
  return { loss: meanCrossEntropy(logits, examples, model.head.labels.length), ...(await score?.(logits)) };
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
