/** The TensorFlow.js backend `whittle`: the pure JavaScript CPU backend with native kernels on the same memory. */
import type * as tf from '@tensorflow/tfjs-core';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { BufferPool } from './buffer-pool.js';

export const backendName = 'whittle';

/** What MathBackendCPU.write and move take, and what it stores. */
type Values = tf.backend_util.BackendValues;

/** Which rows of a matrix may not be zero. */
export interface SparseRows {
  /** Ascending. */
  rows: Int32Array;
  columns: number;
}

/**
 * Stores tensors as typed arrays, as its parent does, and recycles the large ones that its own kernels made.
 *
 * An array goes back to the pool when its tensor is disposed, unless somebody else may still hold it: an array that
 * was read out, or that a kernel wrapped once more as a view (slice does), is left to the garbage collector.
 */
export class WhittleBackend extends MathBackendCPU {
  readonly pool = new BufferPool();
  /** The values' array buffer has been handed out by `floats` and its one tensor is the only user. */
  readonly #exclusive = new WeakSet<ArrayBufferLike>();
  readonly #unwritten = new WeakSet<ArrayBufferLike>();
  readonly #sparse = new WeakMap<ArrayBufferLike, SparseRows & { length: number }>();

  constructor() {
    super();
    // The parent greets Node users with an advertisement for another backend at the first write.
    (this as unknown as { firstUse: boolean }).firstUse = false;
  }

  /** An uninitialized array for the values of one new tensor. */
  floats(length: number): Float32Array {
    const values = this.pool.take(length);
    this.#unwritten.add(values.buffer);
    return values;
  }

  /**
   * Zeros for the values of one new tensor `[rows, columns]` of which only `sparse.rows` are written: the array is not
   * zeroed anew for its next use.
   */
  sparseFloats(length: number, sparse: SparseRows): Float32Array {
    const values = this.pool.takeZeros(length);
    this.#unwritten.add(values.buffer);
    this.#sparse.set(values.buffer, { ...sparse, length });
    return values;
  }

  /** The rows of a tensor from `sparseFloats` that may not be zero; undefined for any other tensor. */
  rowsOf(tensor: tf.TensorInfo): Int32Array | undefined {
    const { buffer, length } = this.valuesOf(tensor);
    const sparse = this.#sparse.get(buffer);
    return sparse?.length === length ? sparse.rows : undefined;
  }

  /** A new tensor around values from `floats` or `sparseFloats`. */
  tensorInfo(shape: number[], values: Float32Array): tf.TensorInfo {
    return this.makeTensorInfo(shape, 'float32', values);
  }

  /** The float values of a tensor, without a copy if they are stored as a Float32Array. Read only. */
  valuesOf(tensor: tf.TensorInfo): Float32Array {
    const values: unknown = this.data.get(tensor.dataId).values;
    return values instanceof Float32Array ? values : Float32Array.from(values as ArrayLike<number>);
  }

  /** The whole numbers of a tensor. Read only. */
  integersOf(tensor: tf.TensorInfo): Int32Array {
    const values: unknown = this.data.get(tensor.dataId).values;
    return values instanceof Int32Array ? values : Int32Array.from(values as ArrayLike<number>);
  }

  override write(values: Values, shape: number[], dtype: tf.DataType): object {
    this.#own(values);
    return super.write(values, shape, dtype);
  }

  override move(dataId: object, values: Values, shape: number[], dtype: tf.DataType, refCount: number): void {
    this.#own(values);
    super.move(dataId, values, shape, dtype, refCount);
  }

  override readSync(dataId: object): Values {
    const values = super.readSync(dataId);
    if (ArrayBuffer.isView(values)) this.#exclusive.delete(values.buffer);
    return values;
  }

  override disposeData(dataId: object, force = false): boolean {
    const values: unknown = this.data.has(dataId) ? this.data.get(dataId).values : undefined;
    const released = super.disposeData(dataId, force);
    if (released && values instanceof Float32Array && this.#exclusive.delete(values.buffer)) this.#recycle(values);
    return released;
  }

  #recycle(values: Float32Array): void {
    const sparse = this.#sparse.get(values.buffer);
    if (!sparse) return this.pool.give(values);
    this.#sparse.delete(values.buffer);
    const { rows, columns } = sparse;
    for (const row of rows) values.fill(0, row * columns, (row + 1) * columns);
    this.pool.giveZeros(values);
  }

  #own(values: Values): void {
    if (!ArrayBuffer.isView(values)) return;
    if (this.#unwritten.delete(values.buffer)) this.#exclusive.add(values.buffer);
    else this.#exclusive.delete(values.buffer);
  }
}
