/** The dev metrics of a task, from logits. */
import type { Example } from '../data/batch.js';
import type { Split, TextRow, TokenRow } from '../data/dataset.js';
import { scoreClassification } from '../evaluate/classification.js';
import { scoreEntities } from '../evaluate/entities.js';
import type { TaskHead } from '../models/description.js';
import type { DevMetrics } from './dev.js';

/**
 * Scores of a split from the logits of its examples. Text classification: `accuracy`, `macroF1` (also as `f1`),
 * `weightedF1`, `macroPrecision`, `macroRecall`. Token classification: entity-level `f1`, `precision`, `recall` (micro),
 * `macroF1`, and `accuracy` of tags.
 *
 * @param examples of the split's rows, in order.
 * @example
 * const metrics = await devMetricsFor(data.dev, devExamples, head)(await predictLogits(model, devExamples));
 * metrics.accuracy;
 */
export function devMetricsFor(split: Split, examples: readonly Example[], head: TaskHead): DevMetrics {
  return head.task === 'text-classification'
    ? (logits) => textMetrics(logits, split.rows as TextRow[], head.labels)
    : (logits) => entityMetrics(logits, split.rows as TokenRow[], examples, head.labels);
}

function textMetrics(logits: readonly Float32Array[], rows: readonly TextRow[], labels: readonly string[]) {
  const classIds = new Map(labels.map((label, id) => [label, id]));
  const gold = rows.map(({ label }) => classIds.get(label!)!);
  const { accuracy, macro, weighted } = scoreClassification(gold, logits.map(largest), labels);
  return {
    accuracy,
    macroF1: macro.f1,
    f1: macro.f1,
    weightedF1: weighted.f1,
    macroPrecision: macro.precision,
    macroRecall: macro.recall,
  };
}

function entityMetrics(
  logits: readonly Float32Array[],
  rows: readonly TokenRow[],
  examples: readonly Example[],
  labels: readonly string[],
) {
  const predicted = rows.map(({ tokens }, row) => {
    // Words cut off by the longest length have no tokens.
    const tags = tokens.map(() => 'O');
    examples[row]!.wordIds!.forEach((word, token, wordIds) => {
      if (word < 0 || word === wordIds[token - 1]) return;
      const scores = logits[row]!.subarray(token * labels.length, (token + 1) * labels.length);
      tags[word] = labels[largest(scores)]!;
    });
    return tags;
  });
  const scores = scoreEntities(
    rows.map(({ tags }) => tags!),
    predicted,
  );
  const { precision, recall, f1 } = scores.micro;
  return { f1, precision, recall, macroF1: scores.macro.f1, accuracy: scores.tagAccuracy };
}

/** Index of the largest value; the first of equal ones. */
function largest(values: Float32Array): number {
  let best = 0;
  for (let index = 1; index < values.length; index++) if (values[index]! > values[best]!) best = index;
  return best;
}
