/** The inference engine: native/addon/engine_glue.cc. */
import type { StoredParameter } from './formats.js';

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
  /**
   * With a relative position bias: rows of its table `embeddings.positionBias`, and the row of each distance of a key
   * from its query, `[2 * (positions - positionOffset) - 1]`.
   */
  positionBiasRows?: number;
  positionBuckets?: Int32Array;
  normEpsilon: number;
  /** Between pooler and classifier. */
  poolerActivation: 'tanh' | 'relu' | 'gelu';
  /** No head: 'none'. */
  task: 'none' | 'text-classification' | 'token-classification';
  /** Classes of the head; 0 without one. */
  labels: number;
  precision: Precision;
  /** `cpu`, `cuda` (GPU 0), `cuda:N`, or several such as `cuda:0,cuda:1`. */
  device: string;
  /** By whittle's parameter names. */
  parameters: Record<string, StoredParameter>;
}

/** Opaque: an engine that holds packed weights. */
export interface EngineHandle {
  readonly engine: unique symbol;
}

export interface EngineInfo {
  precision: Precision;
  /** As the spec had it. */
  device: string;
  /** Whose weight layout and kernels it uses: `avx512`, ..., or `sm_90` on a GPU. */
  isa: string;
  /** Bytes of the packed weights; several engines of one process share them. */
  packedBytes: number;
  /** How many engines of this process share the packed weights, this one included. */
  sharedBy: number;
}

/**
 * `[sequences, labels]` or `[tokens, labels]`; `[tokens, hidden]`; and `[sequences, hidden]` of the pooler, the mean of
 * the last layer's states of all tokens, or that of the first token.
 */
export type EngineOutput = 'logits' | 'hidden' | 'pooled' | 'mean' | 'first';

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
