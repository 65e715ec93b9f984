import { native } from '../../bindings/load.js';

/** Arrays kept for reuse, so that a training step in its steady state allocates little. */
export class BufferPool {
  /** Smaller arrays are cheaper to allocate than to look up. */
  static readonly smallest = 1024;
  /** Floats kept at most; what comes back beyond that is left to the garbage collector. */
  readonly limit: number;
  /** Idle arrays by capacity. */
  readonly #idle = new Map<number, ArrayBufferLike[]>();
  /** Those of them that are zero, by capacity; apart from the others. */
  readonly #zero = new Map<number, ArrayBufferLike[]>();
  #kept = 0;
  #allocated = 0;

  constructor(limit = 2 ** 28) {
    this.limit = limit;
  }

  /** Floats allocated so far because no idle array fitted: constant once a loop has seen every size of its work. */
  get allocated(): number {
    return this.#allocated;
  }

  /** Floats that idle arrays hold. */
  get kept(): number {
    return this.#kept;
  }

  /** An array of this length with arbitrary content. */
  take(length: number): Float32Array {
    if (length < BufferPool.smallest) return new Float32Array(length);
    const capacity = capacityFor(length);
    const buffer = this.#idle.get(capacity)?.pop();
    if (!buffer) {
      this.#allocated += capacity;
      return new Float32Array(native.allocateFloats(capacity).buffer, 0, length);
    }
    this.#kept -= capacity;
    return new Float32Array(buffer, 0, length);
  }

  /** An array of zeros, without the work of zeroing it if one came back by `giveZeros`. */
  takeZeros(length: number): Float32Array {
    const capacity = capacityFor(length);
    const buffer = this.#zero.get(capacity)?.pop();
    if (!buffer) {
      const values = this.take(length);
      // To the end of its memory, whose next user may have more of it.
      new Float32Array(values.buffer).fill(0);
      return values;
    }
    this.#kept -= capacity;
    return new Float32Array(buffer, 0, length);
  }

  /** Takes back an array from `take` that nobody uses any more. */
  give(values: Float32Array): void {
    this.#keep(values, this.#idle);
  }

  /** Takes back an array from `takeZeros` that is zero again. */
  giveZeros(values: Float32Array): void {
    this.#keep(values, this.#zero);
  }

  #keep(values: Float32Array, idle: Map<number, ArrayBufferLike[]>): void {
    if (values.length < BufferPool.smallest || values.byteOffset !== 0) return;
    const capacity = values.buffer.byteLength / 4;
    if (this.#kept + capacity > this.limit) return;
    const same = idle.get(capacity);
    if (same) same.push(values.buffer);
    else idle.set(capacity, [values.buffer]);
    this.#kept += capacity;
  }
}

/** Batches differ in their tokens, so lengths are rounded up to eighths of a power of two to be found again. */
function capacityFor(length: number): number {
  const unit = 2 ** Math.max(0, Math.floor(Math.log2(length)) - 3);
  return Math.ceil(length / unit) * unit;
}
