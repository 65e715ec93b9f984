/** Tensors of checkpoint files: native/addon/formats_glue.cc. */

/** Element types of safetensors; parameters are F32, F16, BF16 or, with scales, I8. */
export type TensorDtype =
  | 'F32'
  | 'F16'
  | 'BF16'
  | 'I8'
  | 'I16'
  | 'I32'
  | 'I64'
  | 'U8'
  | 'U16'
  | 'U32'
  | 'U64'
  | 'F64'
  | 'F8_E4M3'
  | 'F8_E5M2'
  | 'BOOL';

/** Where one tensor lies: `bytes` bytes at `offset` (from the start) of `file`, row-major. */
export interface StoredTensor {
  /** As the file names it. */
  name: string;
  file: string;
  dtype: TensorDtype;
  shape: number[];
  offset: number;
  bytes: number;
}

/** A parameter as stored: a float tensor, or int8 with its scales `[out, 1]`. */
export interface StoredParameter {
  tensor: StoredTensor;
  scale?: StoredTensor;
}

/** One tensor to write. int8 data is stored as it is, float32 data is rounded to nearest even to `dtype`. */
export interface TensorToWrite {
  name: string;
  data: Float32Array | Int8Array;
  dtype: 'F32' | 'F16' | 'BF16' | 'I8';
}

/** native/addon/formats_glue.cc */
export interface FormatsBinding {
  /** Each parameter as float32, dequantized or widened, `[elements]` in the order given. */
  readParameters(parameters: StoredParameter[], abort?: Int32Array): Promise<Float32Array[]>;
  /**
   * Writes `header` (the whole safetensors header: length, JSON, padding) and then the tensors in the order given,
   * and syncs the file. A file that could not be written whole is removed.
   */
  writeTensors(file: string, header: Uint8Array, tensors: TensorToWrite[], abort?: Int32Array): Promise<void>;
}
