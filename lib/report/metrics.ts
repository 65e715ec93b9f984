/** The scores that tables show of each task. */
import type { Task } from '../data/dataset.js';
import { formatShare } from './format.js';

/** A score: its name in metrics, how people call it, and how it is written. */
export interface Metric {
  name: string;
  title: string;
  format: (value: number) => string;
}

const share = (name: string, title: string): Metric => ({ name, title, format: formatShare });
const figure = (name: string, title: string): Metric => ({ name, title, format: (value) => value.toFixed(4) });

/** The metric that a task is judged by comes first. */
const shown: Record<Task, readonly [Metric, ...Metric[]]> = {
  'text-classification': [share('accuracy', 'accuracy'), share('macroF1', 'macro F1')],
  'multi-label-classification': [
    share('microF1', 'micro F1'),
    share('macroF1', 'macro F1'),
    share('subsetAccuracy', 'all labels right'),
  ],
  regression: [figure('spearman', 'Spearman'), figure('pearson', 'Pearson'), figure('mse', 'MSE')],
  'token-classification': [share('f1', 'entity F1')],
  embedding: [figure('spearman', 'Spearman'), figure('pearson', 'Pearson'), share('accuracy', 'own pair found')],
};

/** The metric that a task is judged by. */
export function mainMetric(task: Task): Metric {
  return shown[task][0];
}

/**
 * The metrics of a task that tables have columns for: those that any of the given scores has; where none has any, the
 * main one.
 */
export function shownMetrics(task: Task, scores: readonly Readonly<Record<string, number>>[]): Metric[] {
  const there = shown[task].filter(({ name }) => scores.some((one) => one[name] !== undefined));
  return there.length > 0 ? there : [mainMetric(task)];
}
