/**
 * The typed contract between TypeScript and the native addon: every function that native/addon/ exports, one
 * section a glue file. A test holds the key list of this file against the addon's.
 *
 * Everything that takes long returns a promise and runs off the JavaScript thread. `abort` is an `Int32Array(1)`:
 * writing 1 into it makes the work stop soon and reject with ABORTED.
 */

/** What `native/cpu` found out. */
export interface MachineInfo {
  threads: number;
}

/** native/addon/machine_glue.cc */
export interface MachineBinding {
  machineInfo(): MachineInfo;
}

/** Element types of safetensors that whittle reads. */
export type TensorDtype = 'F32' | 'F16' | 'BF16' | 'I8' | 'I32' | 'I64';

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

export type Precision = 'float32' | 'bfloat16' | 'int8';

/** Everything the engine needs of a checkpoint. */
export interface EngineSpec {
  layers: number;
  hidden: number;
  heads: number;
  intermediate: number;
  vocabulary: number;
  positions: number;
  positionOffset: number;
  tokenTypes: number;
  normEpsilon: number;
  /** No head: 'none'. */
  task: 'none' | 'text-classification' | 'token-classification';
  /** Classes of the head; 0 without one. */
  labels: number;
  hasPooler: boolean;
  precision: Precision;
  /** By whittle's parameter names. */
  parameters: Record<string, StoredParameter>;
}

/** Opaque: an engine that holds packed weights. */
export interface EngineHandle {
  readonly engine: unique symbol;
}

export interface EngineInfo {
  precision: Precision;
  /** Whose weight layout and kernels it uses: `avx512`, ... */
  isa: string;
  /** Bytes of the packed weights; several engines of one process share them. */
  packedBytes: number;
  /** How many engines of this process share the packed weights, this one included. */
  sharedBy: number;
}

/** `[sequences, labels]` or `[tokens, labels]`; `[tokens, hidden]`; `[sequences, hidden]` */
export type EngineOutput = 'logits' | 'hidden' | 'pooled';

export interface EngineRunOptions {
  output: EngineOutput;
  /** At most; 0 is the machine's default. Results do not depend on it. */
  threads: number;
  abort?: Int32Array;
  /** Called with sequences done and sequences in all. */
  onProgress?: (done: number, total: number) => void;
}

/** native/addon/engine_glue.cc */
export interface EngineBinding {
  /** Packs the weights, or shares them with an engine of this process that has the same files and precision. */
  engineLoad(spec: EngineSpec, abort?: Int32Array): Promise<EngineHandle>;
  engineInfo(engine: EngineHandle): EngineInfo;
  /** Runs a ragged batch: `inputIds` and `tokenTypeIds` `[tokens]`, `offsets` `[sequences + 1]`. */
  engineRun(
    engine: EngineHandle,
    inputIds: Int32Array,
    tokenTypeIds: Int32Array,
    offsets: Int32Array,
    options: EngineRunOptions,
  ): Promise<Float32Array>;
  /** Frees the engine once its runs have ended. A second call does nothing; other calls reject with DISPOSED. */
  engineDispose(engine: EngineHandle): Promise<void>;
}

export type NativeBinding = MachineBinding & FormatsBinding & EngineBinding;
