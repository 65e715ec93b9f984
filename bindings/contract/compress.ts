/** Pruning and quantization: native/addon/compress_glue.cc. */

/** native/addon/compress_glue.cc */
export interface CompressBinding {
  /**
   * A mask for each tensor, 0 where the element is among the `cut` smallest magnitudes of all tensors together (equal
   * ones: the first in order of tensor and index), else 1. `threshold` is the largest magnitude cut, -1 if none is;
   * `zeros[t]` is how many elements of tensor t are cut. Rejects with BAD_CHECKPOINT if a tensor holds NaN or infinity.
   * `device`: `cpu`, also if absent, or `cuda:N`, which gives the same; rejects with DEVICE if the GPU has no room for
   * pieces of the tensors.
   */
  magnitudeMasks(
    names: string[],
    tensors: Float32Array[],
    cut: number,
    threads: number,
    abort?: Int32Array,
    device?: string,
  ): Promise<{ threshold: number; masks: Uint8Array[]; zeros: number[] }>;
  /** values[i] = mask[i] ? values[i] : 0, in place. */
  applyMask(values: Float32Array, mask: Uint8Array): void;
  /**
   * `values` `[rows, columns]` as int8 with one scale a row, rounded half to even; scale = max |row| / 127.
   * `relativeError` is the norm of the difference divided by the norm of `values`.
   *
   * With `gram` `[columns, columns]`, the sum of xᵀx over calibration inputs x, rounding errors are made up for where
   * they cost least in the products (GPTQ; Frantar et al. 2023). Rejects with BAD_DATA if `gram` holds NaN or infinity.
   * `device` as above; with `gram` it is the CPU whatever is asked for.
   */
  quantizeWeight(
    name: string,
    values: Float32Array,
    gram: Float32Array | undefined,
    rows: number,
    columns: number,
    threads: number,
    abort?: Int32Array,
    device?: string,
  ): Promise<{ values: Int8Array; scales: Float32Array; relativeError: number }>;
}
