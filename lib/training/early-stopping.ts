/** Says when a metric has stopped improving. */
import { WhittleError } from '../../bindings/errors.js';
import { didYouMean } from '../options.js';
import type { EarlyStopping } from './stages.js';

export interface WatchState {
  /** The best value so far, larger being better; absent before the first. */
  best?: number;
  /** Evaluations since then. */
  waited: number;
}

export class ImprovementWatch {
  readonly #rule: EarlyStopping;
  readonly #sign: 1 | -1;
  #state: WatchState;

  constructor(rule: EarlyStopping, state: WatchState = { waited: 0 }) {
    this.#rule = rule;
    const mode = rule.mode ?? (/(loss|error|mse|mae)$/i.test(rule.metric) ? 'min' : 'max');
    this.#sign = mode === 'max' ? 1 : -1;
    this.#state = state;
  }

  get state(): WatchState {
    return { ...this.#state };
  }

  /**
   * Takes the metrics of one evaluation.
   * @throws WhittleError BAD_OPTION if the watched metric is not among them.
   */
  observe(metrics: Readonly<Record<string, number>>): { improved: boolean; stop: boolean } {
    const { metric, minChange, patience } = this.#rule;
    const value = metrics[metric];
    if (value === undefined) throw unknownMetric(metric, Object.keys(metrics));
    const score = this.#sign * value;
    const { best = -Infinity, waited } = this.#state;
    const improved = score > best && (best === -Infinity || score - best >= minChange);
    this.#state = improved ? { best: score, waited: 0 } : { ...this.#state, waited: waited + 1 };
    return { improved, stop: this.#state.waited >= patience };
  }
}

/**
 * @param names of the metrics that there are.
 * @throws WhittleError BAD_OPTION if the metric is not among them.
 */
export function checkMetric(metric: string, names: readonly string[]): void {
  if (!names.includes(metric)) throw unknownMetric(metric, names);
}

function unknownMetric(metric: string, names: readonly string[]): WhittleError {
  return new WhittleError(
    'BAD_OPTION',
    `earlyStopping: no dev metric "${metric}"${didYouMean(metric, names) || `; expected one of ${names.join(', ')}`}`,
  );
}
