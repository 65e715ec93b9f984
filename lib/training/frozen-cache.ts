/** Outputs of the frozen lower part of a model, computed once an example and kept. */
import * as tf from '@tensorflow/tfjs-core';
import { raggedBatch } from '../data/batch.js';
import type { Examples } from '../data/examples.js';
import type { FrozenOutput, TrainableModel } from './model.js';

/** Keeping more than this costs more than it saves; the frozen part is then run at every step. */
const mostBytes = 2 ** 30;
const sequencesAtOnce = 64;

export class FrozenCache {
  readonly depth: number;
  /** By example: `[tokens, hidden]`, or `[hidden]` of the first token. */
  readonly #outputs: Float32Array[] = [];
  readonly #hidden: number;

  private constructor(model: TrainableModel, depth: number) {
    this.depth = depth;
    this.#hidden = model.description.hidden;
  }

  /** True if the outputs below `depth` of all these examples are small enough to keep; not for examples on the disk. */
  static fits(model: TrainableModel, depth: number, sets: readonly Examples[]): boolean {
    if (sets.some(({ vocabulary }) => vocabulary)) return false;
    let rows = 0;
    for (const examples of sets) {
      if (model.readsFirstTokens(depth)) rows += examples.length;
      else for (const { inputIds } of examples) rows += inputIds.length;
    }
    return rows * model.description.hidden * 4 <= mostBytes;
  }

  /** @param onBatch called before every batch with the number of examples done; awaited. */
  static async build(
    model: TrainableModel,
    depth: number,
    examples: Examples,
    onBatch: (done: number) => Promise<void>,
  ): Promise<FrozenCache> {
    const cache = new FrozenCache(model, depth);
    for (let start = 0; start < examples.length; start += sequencesAtOnce) {
      await onBatch(start);
      const batch = raggedBatch(examples.slice(start, start + sequencesAtOnce));
      const { hidden } = model.frozenOutput(batch, depth);
      const values = hidden.dataSync() as Float32Array;
      const rows = model.readsFirstTokens(depth);
      for (let sequence = 0; sequence + 1 < batch.offsets.length; sequence++) {
        const [from, to] = rows ? [sequence, sequence + 1] : [batch.offsets[sequence]!, batch.offsets[sequence + 1]!];
        cache.#outputs.push(values.slice(from * cache.#hidden, to * cache.#hidden));
      }
      hidden.dispose();
    }
    return cache;
  }

  /** The kept outputs of a batch, in order; the caller disposes of the tensor. */
  batch(indices: ArrayLike<number>): FrozenOutput {
    const outputs = Array.from(indices, (index) => this.#outputs[index]!);
    const values = new Float32Array(outputs.reduce((sum, output) => sum + output.length, 0));
    let offset = 0;
    for (const output of outputs) {
      values.set(output, offset);
      offset += output.length;
    }
    return { depth: this.depth, hidden: tf.tensor2d(values, [values.length / this.#hidden, this.#hidden]) };
  }
}
