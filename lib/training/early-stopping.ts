/** Says when a metric has stopped improving. */
import { WhittleError } from '../../bindings/errors.js';
import { didYouMean } from '../options.js';
import type { EarlyStopping } from './stages.js';

export class ImprovementWatch {
  readonly #rule: EarlyStopping;
  readonly #sign: 1 | -1;
  #best = -Infinity;
  #waited = 0;

  constructor(rule: EarlyStopping) {
    this.#rule = rule;
    const mode = rule.mode ?? (rule.metric.toLowerCase().endsWith('loss') ? 'min' : 'max');
    this.#sign = mode === 'max' ? 1 : -1;
  }

  /**
   * Takes the metrics of one evaluation.
   * @throws WhittleError BAD_OPTION if the watched metric is not among them.
   */
  observe(metrics: Readonly<Record<string, number>>): { improved: boolean; stop: boolean } {
    const { metric, minChange, patience } = this.#rule;
    const value = metrics[metric];
    if (value === undefined) {
      const names = Object.keys(metrics);
      throw new WhittleError(
        'BAD_OPTION',
        `earlyStopping: no dev metric "${metric}"${didYouMean(metric, names) || `; expected one of ${names.join(', ')}`}`,
      );
    }
    const score = this.#sign * value;
    const improved = score > this.#best && (this.#best === -Infinity || score - this.#best >= minChange);
    if (improved) {
      this.#best = score;
      this.#waited = 0;
    } else {
      this.#waited++;
    }
    return { improved, stop: this.#waited >= patience };
  }
}
