/** A copy of trained parameters to go back to. */
import type { ParameterName } from '../models/description.js';
import type { TrainableModel } from './model.js';
import { assignValues, valuesOf } from './parameter-values.js';

export class Snapshot {
  /** The stage's step after which it was taken; 0 as the stage began. */
  readonly step: number;
  readonly values: ReadonlyMap<ParameterName, Float32Array>;
  /** Of the words that are not in use; see WordTable. */
  readonly missedDecay: number;

  constructor(step: number, values: ReadonlyMap<ParameterName, Float32Array>, missedDecay: number) {
    this.step = step;
    this.values = values;
    this.missedDecay = missedDecay;
  }

  static take(model: TrainableModel, names: Iterable<ParameterName>, step = 0): Snapshot {
    const values = new Map<ParameterName, Float32Array>();
    for (const name of names) values.set(name, valuesOf(model.parameters.get(name)!).slice());
    return new Snapshot(step, values, model.words?.missedDecay ?? 1);
  }

  restore(model: TrainableModel): void {
    for (const [name, values] of this.values) assignValues(model.parameters.get(name)!, values);
    if (model.words) model.words.missedDecay = this.missedDecay;
  }
}
