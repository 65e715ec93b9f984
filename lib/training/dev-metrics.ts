/** The dev metrics of a task, from logits. */
import type { Example } from '../data/batch.js';
import type { Split } from '../data/dataset.js';
import { scoreRows } from '../evaluate/score.js';
import { headKind, type TaskHead } from '../models/description.js';
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
  const width = Math.max(1, head.labels.length);
  const score = (logits: readonly Float32Array[]) =>
    scoreRows(split.rows, examples, logits, head, thresholdsOf(settings, head.labels.length)).metrics;
  const names = () => {
    const outputs = ({ inputIds }: Example) => (headKind(head.task) === 'token' ? inputIds.length : 1) * width;
    return Object.keys(score(examples.map((example) => new Float32Array(outputs(example)))));
  };
  return Object.assign(score, { names });
}
