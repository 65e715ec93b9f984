/** The trials of a study as a table, best first. */
import { formatSeconds, formatSmall, formatTable } from '../report/format.js';
import type { TuneResult } from './study.js';

export function trialTable({ trials, best, metric }: TuneResult): string {
  const paths = Object.keys(best.parameters);
  const order = [...trials].sort((a, b) => rank(a.value, best.value!) - rank(b.value, best.value!));
  const rows = order.map((trial) => [
    String(trial.trial + 1) + (trial.trial === best.trial ? ' *' : ''),
    trial.value === undefined ? 'failed' : formatSmall(trial.value),
    ...paths.map((path) => formatValue(trial.parameters[path])),
    formatSeconds(trial.seconds),
  ]);
  return formatTable(['trial', metric, ...paths.map((path) => path.replace(/^steps\./, '')), 'took'], rows);
}

/** Distance from the best value; failed trials come last. */
function rank(value: number | undefined, best: number): number {
  return value === undefined ? Infinity : Math.abs(value - best);
}

function formatValue(value: unknown): string {
  return typeof value === 'number' ? formatSmall(value) : typeof value === 'string' ? value : JSON.stringify(value);
}
