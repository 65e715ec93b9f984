/** The loss over a stage, thinned out to means over runs of steps. */

export interface CurvePoint {
  /** The last step of the run, counted from 1. */
  step: number;
  /** Mean over the run. */
  loss: number;
  learningRate: number;
}

/** Steps that are not in a point yet. */
export interface CurveRemainder {
  sum: number;
  count: number;
  last: { step: number; learningRate: number };
}

export class LossCurve {
  readonly #points: CurvePoint[];
  readonly #every: number;
  #remainder: CurveRemainder;

  /**
   * @param points where points are added.
   * @param every how many steps a point stands for.
   */
  constructor(points: CurvePoint[], every: number, remainder?: CurveRemainder) {
    this.#points = points;
    this.#every = every;
    this.#remainder = remainder ? structuredClone(remainder) : { sum: 0, count: 0, last: { step: 0, learningRate: 0 } };
  }

  get remainder(): CurveRemainder {
    return structuredClone(this.#remainder);
  }

  /** @param step counted from 1. */
  add(step: number, loss: number, learningRate: number): void {
    const remainder = this.#remainder;
    remainder.sum += loss;
    remainder.last = { step, learningRate };
    if (++remainder.count === this.#every) this.end();
  }

  end(): void {
    const { sum, count, last } = this.#remainder;
    if (count > 0) this.#points.push({ ...last, loss: sum / count });
    this.#remainder = { sum: 0, count: 0, last };
  }
}
