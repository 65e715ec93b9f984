/** Tables for the terminal. */
import { formatBytes, formatCount, formatSeconds, formatTable } from './format.js';
import { shownMetrics } from './metrics.js';
import type { Report } from './report.js';

/** The evaluated models of a run: what compression cost and bought. Empty if the run evaluated nothing. */
export function modelTable(report: Report): string {
  if (report.models.length === 0) return '';
  const metrics = shownMetrics(
    report.task,
    report.models.map(({ scores }) => scores),
  );
  const rows = report.models.map((model) => [
    model.name,
    model.precision,
    model.on,
    ...metrics.map(({ name, format }) => optional(model.scores[name], format)),
    formatBytes(model.bytes),
    optional(model.textsPerSecond, formatCount),
  ]);
  return formatTable(
    ['model', 'precision', 'on', ...metrics.map(({ title }) => title), 'size on disk', 'texts/s'],
    rows,
  );
}

/** Every step of a run: how long it took and the scores it left. */
export function stepTable(report: Report): string {
  const [metric] = shownMetrics(
    report.task,
    report.steps.map(({ metrics }) => metrics),
  );
  const { name, title, format } = metric!;
  const rows = report.steps.map((step) => [
    step.name,
    optional(step.metrics[name], format),
    formatBytes(step.bytes),
    formatSeconds(step.seconds) + (step.reused ? ' (before)' : ''),
  ]);
  return formatTable(['step', title, 'size on disk', 'took'], rows);
}

function optional(value: number | undefined, format: (value: number) => string): string {
  return value === undefined ? '' : format(value);
}
