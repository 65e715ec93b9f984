/** The dev metrics of a task, from logits. */
import type { Example } from '../data/batch.js';
import type { Row, Split } from '../data/dataset.js';
import { scoreRows } from '../evaluate/score.js';
import type { TaskHead } from '../models/description.js';
import { thresholdsOf, type TaskSettings } from '../models/task-settings.js';
import type { DevMetrics } from './dev.js';

/**
 * Scores of a split from the logits of its examples, by the names that `scoreRows` lists.
 *
 * @param examples of the split's rows, in order.
 * @example
 * const metrics = await devMetricsFor(data.dev, devExamples, head)(await predictLogits(model, devExamples));
 * metrics.accuracy;
 */
export function devMetricsFor(
  split: Split,
  examples: readonly Example[],
  head: TaskHead,
  settings: TaskSettings = {},
): DevMetrics {
  const score = (logits: readonly Float32Array[]) =>
    scoreRows(split.rows, examples, logits, head, thresholdsOf(settings, head.labels.length)).metrics;
  return Object.assign(score, { names: () => metricNames(head, split.rows) });
}

/**
 * The names of a task's dev metrics, without scoring any rows.
 *
 * @param rows of the dev set: pairs of texts have other metrics with scores than without.
 * @example
 * metricNames({ task: 'regression', labels: ['score'] }, rows); // pearson, spearman, mse, mae
 */
export function metricNames(head: TaskHead, rows: readonly Row[]): string[] {
  const some = head.task === 'embedding' ? rows.slice(0, 1) : [];
  const vectors = some.flatMap(() => [Float32Array.of(0), Float32Array.of(0)]);
  const thresholds = head.labels.map(() => 0.5);
  return Object.keys(scoreRows(some, [], vectors, head, thresholds).metrics);
}
