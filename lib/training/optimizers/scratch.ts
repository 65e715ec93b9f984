/** An array that grows to the longest that was asked for: updates allocate nothing once they are warm. */
export class Scratch {
  #values = new Float32Array(0);

  /** Arbitrary content, until the next call. */
  take(length: number): Float32Array {
    if (length > this.#values.length) this.#values = new Float32Array(length);
    return this.#values.subarray(0, length);
  }
}
