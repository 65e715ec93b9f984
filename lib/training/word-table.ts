/**
 * The rows of the word embeddings that a training run can reach. The others get no gradient, so AdamW does nothing to
 * them but decay, which can wait: training on 2,000 of 30,000 words costs a fifteenth of the memory traffic.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Parameter } from '../models/parameters.js';

export class WordTable {
  /** `[rows in use]` ascending ids. */
  readonly ids: Int32Array;
  /** `[vocabulary]` row of each id, -1 for those not in use. */
  readonly #rowOf: Int32Array;
  readonly #whole: Parameter;
  /** Product of the decay factors that the rows not in use have missed. */
  #missedDecay = 1;

  /** @param lists whose ids are in use. */
  constructor(table: tf.Variable, lists: Iterable<Int32Array>) {
    this.#whole = { shape: [...table.shape], data: Float32Array.from(table.dataSync()) };
    const used = new Uint8Array(table.shape[0]!);
    for (const list of lists) for (const id of list) used[id] = 1;
    this.#rowOf = new Int32Array(used.length).fill(-1);
    const ids: number[] = [];
    used.forEach((isUsed, id) => {
      if (isUsed) this.#rowOf[id] = ids.push(id) - 1;
    });
    this.ids = Int32Array.from(ids);
  }

  get #width(): number {
    return this.#whole.shape[1]!;
  }

  /** `[rows in use, hidden]` as they were at the start. */
  get rows(): Parameter {
    return { shape: [this.ids.length, this.#width], data: this.select(this.#whole.data) };
  }

  /** The rows in use of something as large as the table. */
  select<T extends Float32Array | Uint8Array>(table: T): T {
    const width = this.#width;
    const rows = new (table.constructor as { new (length: number): T })(this.ids.length * width);
    this.ids.forEach((id, row) => rows.set(table.subarray(id * width, (id + 1) * width), row * width));
    return rows;
  }

  /** `[tokens]` ids to rows. */
  remap(inputIds: Int32Array): Int32Array {
    return inputIds.map((id) => {
      const row = this.#rowOf[id] ?? -1;
      if (row < 0) throw new Error(`word id ${id} is not among those that this training run uses`);
      return row;
    });
  }

  /** Notes one step of decoupled decay for the rows not in use: each is multiplied by this. */
  decayOthers(factor: number): void {
    this.#missedDecay *= factor;
  }

  get missedDecay(): number {
    return this.#missedDecay;
  }

  set missedDecay(product: number) {
    this.#missedDecay = product;
  }

  /** A copy of the whole table with the rows in use from `rows`, and the missed decay made up for. */
  whole(rows: tf.Variable): Parameter {
    const width = this.#width;
    const data = this.#whole.data.slice();
    const decay = this.#missedDecay;
    if (decay !== 1) for (let index = 0; index < data.length; index++) data[index]! *= decay;
    const values = rows.dataSync() as Float32Array;
    this.ids.forEach((id, row) => data.set(values.subarray(row * width, (row + 1) * width), id * width));
    return { shape: [...this.#whole.shape], data };
  }
}
