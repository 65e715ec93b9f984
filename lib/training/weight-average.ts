/** An exponential moving average of the weights that train (Polyak and Juditsky 1992; Tarvainen and Valpola 2017). */
import { native } from '../../bindings/load.js';
import type { ParameterName } from '../models/description.js';
import { floatArrays } from './float-arrays.js';
import type { TrainableModel } from './model.js';
import { assignValues, valuesOf } from './parameter-values.js';

/** The part of an average's state that is JSON. */
export interface AverageState {
  updates: number;
  /** Of the decay that the words that are not in use have missed. */
  missedDecay: number;
}

export class WeightAverage {
  readonly #model: TrainableModel;
  readonly #decay: number;
  readonly values = new Map<ParameterName, Float32Array>();
  readonly #state: AverageState;

  /** @param from an average of the same parameters to go on with; their values as they are now unless given. */
  constructor(
    model: TrainableModel,
    names: Iterable<ParameterName>,
    decay: number,
    from?: { state: AverageState; values: ReadonlyMap<ParameterName, Float32Array> },
  ) {
    this.#model = model;
    this.#decay = decay;
    this.#state = from ? { ...from.state } : { updates: 0, missedDecay: model.words?.missedDecay ?? 1 };
    const all = [...names];
    const memory = floatArrays(all.map((name) => model.parameters.get(name)!.size));
    all.forEach((name, index) => {
      memory[index]!.set(from?.values.get(name) ?? valuesOf(model.parameters.get(name)!));
      this.values.set(name, memory[index]!);
    });
  }

  get state(): AverageState {
    return { ...this.#state };
  }

  /** Takes in the weights after a step. The decay starts low, so that an average of few steps forgets the start. */
  update(): void {
    const step = ++this.#state.updates;
    const share = 1 - Math.min(this.#decay, (1 + step) / (10 + step));
    const tensors = [...this.values].map(([name, average]) => {
      return { average, values: valuesOf(this.#model.parameters.get(name)!) };
    });
    native.movingAverage(tensors, share);
    const missed = this.#model.words?.missedDecay ?? 1;
    this.#state.missedDecay += share * (missed - this.#state.missedDecay);
  }

  /** Gives the model the average. */
  assign(): void {
    for (const [name, values] of this.values) assignValues(this.#model.parameters.get(name)!, values);
    if (this.#model.words) this.#model.words.missedDecay = this.#state.missedDecay;
  }

  /** Runs `action` while the model has the average in place of its weights. */
  async during<T>(action: () => Promise<T>): Promise<T> {
    const weights = new Map<ParameterName, Float32Array>();
    for (const name of this.values.keys()) weights.set(name, valuesOf(this.#model.parameters.get(name)!).slice());
    const missed = this.#model.words?.missedDecay;
    this.assign();
    try {
      return await action();
    } finally {
      for (const [name, values] of weights) assignValues(this.#model.parameters.get(name)!, values);
      if (this.#model.words && missed !== undefined) this.#model.words.missedDecay = missed;
    }
  }
}
