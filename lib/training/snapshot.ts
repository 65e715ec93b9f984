/** A copy of trained parameters to go back to. */
import * as tf from '@tensorflow/tfjs-core';
import type { ParameterName } from '../models/description.js';
import type { TrainableModel } from './model.js';

export class Snapshot {
  /** The stage's step after which it was taken; 0 as the stage began. */
  readonly step: number;
  readonly #values = new Map<ParameterName, Float32Array>();
  readonly #missedDecay: number;

  private constructor(step: number, missedDecay: number) {
    this.step = step;
    this.#missedDecay = missedDecay;
  }

  static take(model: TrainableModel, names: Iterable<ParameterName>, step = 0): Snapshot {
    const snapshot = new Snapshot(step, model.words?.missedDecay ?? 1);
    for (const name of names)
      snapshot.#values.set(name, Float32Array.from(model.parameters.get(name)!.dataSync() as Float32Array));
    return snapshot;
  }

  restore(model: TrainableModel): void {
    for (const [name, values] of this.#values) {
      const variable = model.parameters.get(name)!;
      const tensor = tf.tensor(values.slice(), variable.shape);
      variable.assign(tensor);
      tensor.dispose();
    }
    if (model.words) model.words.missedDecay = this.#missedDecay;
  }
}
