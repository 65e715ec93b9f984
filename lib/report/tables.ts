/** Tables for the terminal. */
import { formatBytes, formatCount, formatSeconds, formatShare, formatTable } from './format.js';
import { mainMetric, type Report } from './report.js';

/** The evaluated models of a run: what compression cost and bought. Empty if the run evaluated nothing. */
export function modelTable(report: Report): string {
  if (report.models.length === 0) return '';
  const text = report.task === 'text-classification';
  const scores = text ? ['accuracy', 'macro F1'] : ['entity F1'];
  const rows = report.models.map((model) => [
    model.name,
    model.precision,
    model.on,
    ...(text ? [model.accuracy, model.macroF1] : [model.f1]).map((score) => optional(score, formatShare)),
    formatBytes(model.bytes),
    optional(model.textsPerSecond, formatCount),
  ]);
  return formatTable(['model', 'precision', 'on', ...scores, 'size on disk', 'texts/s'], rows);
}

/** Every step of a run: how long it took and the scores it left. */
export function stepTable(report: Report): string {
  const { name, title } = mainMetric(report.task);
  const rows = report.steps.map((step) => [
    step.name,
    optional(step.metrics[name], formatShare),
    formatBytes(step.bytes),
    formatSeconds(step.seconds) + (step.reused ? ' (before)' : ''),
  ]);
  return formatTable(['step', title, 'size on disk', 'took'], rows);
}

function optional(value: number | undefined, format: (value: number) => string): string {
  return value === undefined ? '' : format(value);
}
