/** The dev metrics of a task, from logits. */
import type { Example } from '../data/batch.js';
import type { Split } from '../data/dataset.js';
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
  return (logits) => scoreRows(split.rows, examples, logits, head, thresholdsOf(settings, head.labels.length)).metrics;
}
