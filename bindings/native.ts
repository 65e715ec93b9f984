/**
 * The typed contract between TypeScript and the native addon: every function that native/addon/ exports, one
 * section a glue file. A test holds the key list of this file against the addon's.
 *
 * Everything that takes long returns a promise and runs off the JavaScript thread. `abort` is an `Int32Array(1)`:
 * writing 1 into it makes the work stop soon and reject with ABORTED.
 */

/** The instruction sets that whittle has kernels for, weakest first. */
export type IsaName = 'ref' | 'avx2' | 'avxvnni' | 'avx512' | 'vnni' | 'amx';

/** What the CPU, the operating system and the container allow, and what whittle chose. */
export interface MachineInfo {
  /** `AuthenticAMD`, `GenuineIntel`, ... */
  vendor: string;
  model: string;
  /** Whose kernels run, and whether the environment variable WHITTLE_ISA or detection chose them. */
  isa: IsaName;
  isaFrom: 'WHITTLE_ISA' | 'detected';
  /** Every ISA that this machine can run, weakest first. */
  isas: IsaName[];
  /** Whether bf16 products run natively; where not, bfloat16 means float32. */
  nativeBf16: boolean;
  /** CPU has it and the operating system saves its registers. */
  features: {
    avx2: boolean;
    avxvnni: boolean;
    avx512: boolean;
    avx512Vnni: boolean;
    avx512Bf16: boolean;
    amxInt8: boolean;
    amxBf16: boolean;
  };
  /** Why AMX is off although the CPU has it; empty otherwise. */
  amxNote: string;
  /**
   * CPUs (hardware threads) of the machine, those that this process may run on, the physical cores that they are, and
   * the cgroup's quota in CPUs (0: none).
   */
  logicalCpus: number;
  affinityCpus: number;
  affinityCores: number;
  cgroupCpus: number;
  /** Threads that follow from these (one a physical core, within the quota), and threads in use (the same unless `setThreads` was called). */
  defaultThreads: number;
  threads: number;
  /** Per core (l1d, l2) or shared (l3); 0 where unknown. */
  cacheBytes: { l1d: number; l2: number; l3: number };
}

/** The GPUs that whittle's own CUDA kernels may run on. */
export interface GpuSupport {
  /** Whether this build holds CUDA kernels. */
  built: boolean;
  /** CUDA that the driver serves, 1000 * major + 10 * minor; 0: no driver, or not looked for. */
  driverVersion: number;
  /** CUDA that this build needs. */
  runtimeVersion: number;
  /** Why there is none; empty if there is one. */
  problem: string;
  /** Those that CUDA_VISIBLE_DEVICES leaves; `capability` is 10 * major + minor. */
  devices: { index: number; name: string; capability: number; multiprocessors: number; memoryBytes: number }[];
}

/** native/addon/machine_glue.cc */
export interface MachineBinding {
  /** @throws WhittleError BAD_OPTION if WHITTLE_ISA names an ISA that this machine lacks. */
  machineInfo(): MachineInfo;
  /** Sets the threads of native work for the whole process, 1 to 1024; 0 goes back to the default. Returns the number. */
  setThreads(threads: number): number;
  /** Looks for GPUs at the first call of the process. */
  gpuInfo(): GpuSupport;
}

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

/**
 * The parameters of one encoder layer in the order that the block functions take them, named as in
 * lib/models/description.ts without `layers.N.`.
 */
export const blockParameterNames = [
  'attention.query.weight',
  'attention.query.bias',
  'attention.key.weight',
  'attention.key.bias',
  'attention.value.weight',
  'attention.value.bias',
  'attention.output.weight',
  'attention.output.bias',
  'attention.norm.weight',
  'attention.norm.bias',
  'intermediate.weight',
  'intermediate.bias',
  'output.weight',
  'output.bias',
  'output.norm.weight',
  'output.norm.bias',
] as const;

/** The parameters of the embedding, in the order that the embedding functions take them. */
export const embeddingParameterNames = [
  'embeddings.word',
  'embeddings.position',
  'embeddings.tokenType',
  'embeddings.norm.weight',
  'embeddings.norm.bias',
] as const;

/** Products of the training kernels; bfloat16 falls back to float32 on a machine without bf16 products. */
export type TrainingPrecision = 'float32' | 'bfloat16';

/**
 * Dropout masks are a pure function of (seed, step, layer, site, element): give the backward pass what the forward
 * pass was given, and a resumed run the step it was at.
 */
export interface DropoutCounter {
  /** Whole number, 0 up to 2^53 - 1. */
  seed: number;
  /** Training step, 0 up to 2^32 - 1. */
  step: number;
}

/** One post-norm encoder layer. */
export interface BlockSpec extends DropoutCounter {
  hidden: number;
  /** Divides hidden. */
  heads: number;
  intermediate: number;
  normEpsilon: number;
  /** Rates in [0, 1); 0 when not training. */
  hiddenDropout: number;
  attentionDropout: number;
  /** Index of the layer, part of the dropout counter. */
  layer: number;
  precision: TrainingPrecision;
}

/** Word + position + token type, LayerNorm, dropout. */
export interface EmbeddingSpec extends DropoutCounter {
  hidden: number;
  /** Position of the first token of a sequence. */
  positionOffset: number;
  normEpsilon: number;
  /** Rate in [0, 1); 0 when not training. */
  dropout: number;
}

/** One parameter for AdamW, all arrays of one length. */
export interface AdamwTensor {
  parameter: Float32Array;
  gradient: Float32Array;
  firstMoment: Float32Array;
  secondMoment: Float32Array;
  learningRate: number;
  /** Decoupled weight decay. */
  weightDecay: number;
  /** Updates of this parameter so far, this one included: 1 at the first. */
  step: number;
  /** Where it is 0, the parameter is held at 0. */
  mask?: Uint8Array;
}

/** C[m, n] = A[m, k] B[k, n], row-major, for each of `batch` products. */
export interface MatmulOptions {
  m: number;
  n: number;
  k: number;
  /** A is stored [k, m]. */
  transposeA?: boolean;
  /** B is stored [n, k]. */
  transposeB?: boolean;
  /** 1 unless given. */
  batch?: number;
  /** Elements from one product's A to the next; 0: the same A for all. Not given: one after the other. */
  strideA?: number;
  strideB?: number;
  /** [n], added to each row. */
  bias?: Float32Array;
  precision?: TrainingPrecision;
}

/** native/addon/tensor_glue.cc. Synchronous; what TrainingBinding says of arrays holds here too. */
export interface TensorBinding {
  /** Arbitrary content; in huge pages if it is large and the system gives them. */
  allocateFloats(count: number): Float32Array<ArrayBuffer>;
  matmul(a: Float32Array, b: Float32Array, c: Float32Array, options: MatmulOptions): void;
  /** Rows of `gamma.length` elements; `mean` and `rstd` `[rows]` or null. y may be x. */
  layerNorm(
    x: Float32Array,
    gamma: Float32Array,
    beta: Float32Array,
    epsilon: number,
    y: Float32Array,
    mean: Float32Array | null,
    rstd: Float32Array | null,
  ): void;
  layerNormBackward(
    dy: Float32Array,
    x: Float32Array,
    gamma: Float32Array,
    mean: Float32Array,
    rstd: Float32Array,
    dx: Float32Array,
    dgamma: Float32Array,
    dbeta: Float32Array,
  ): void;
  /** Over rows of `cols` elements. y may be x. */
  softmax(x: Float32Array, cols: number, y: Float32Array): void;
  /** dx = y * (dy - sum(y * dy)), row by row. */
  softmaxBackward(y: Float32Array, dy: Float32Array, cols: number, dx: Float32Array): void;
  /** The erf form. y may be x. */
  gelu(x: Float32Array, y: Float32Array): void;
  geluBackward(x: Float32Array, dy: Float32Array, dx: Float32Array): void;
  /** y `[ids, width]` = rows of `table` `[rows, width]`. */
  gatherRows(table: Float32Array, width: number, ids: Int32Array, y: Float32Array): void;
  /** Gradient of gatherRows: `dtable` is zeroed, then row ids[i] is increased by dy[i], in the order of i. */
  scatterAddRows(dy: Float32Array, width: number, ids: Int32Array, dtable: Float32Array): void;
}

/**
 * native/addon/training_glue.cc. All synchronous, on the native thread pool; results do not depend on the number of
 * threads. Outputs are given by the caller and overwritten; gradients of parameters are overwritten too, and null
 * stands for a gradient that is not wanted (it costs nothing). Arrays may be views. No output may overlap an input
 * unless said so.
 */
export interface TrainingBinding {
  /** Bytes that native scratch memory has grown to: constant once a process has seen every size of its work. */
  scratchBytes(): number;
  /** Length of `saved` for blockForward. */
  blockSavedFloats(spec: BlockSpec, tokens: number, sequences: number): number;
  /**
   * y `[tokens, hidden]` from x `[tokens, hidden]` with `offsets` `[sequences + 1]`. `parameters` in the order of
   * blockParameterNames, then, if there is one, a position bias `[heads, 2 * maxDistance - 1]`: element
   * `[h, maxDistance - 1 + j - i]` is added to the scaled score of query i and key j. `saved` holds what blockBackward needs; null where there will be none.
   */
  blockForward(
    spec: BlockSpec,
    x: Float32Array,
    offsets: Int32Array,
    parameters: readonly Float32Array[],
    y: Float32Array,
    saved: Float32Array | null,
  ): void;
  /**
   * `saved` as blockForward left it; it is scratch memory afterwards. With null the forward pass runs once more, in
   * scratch memory, which gives the same bit for bit. `dx` null: nothing below trains. `gradients` in
   * the order of `parameters`; that of the position bias is summed over the sequences.
   */
  blockBackward(
    spec: BlockSpec,
    x: Float32Array,
    offsets: Int32Array,
    parameters: readonly Float32Array[],
    saved: Float32Array | null,
    dy: Float32Array,
    dx: Float32Array | null,
    gradients: readonly (Float32Array | null)[],
  ): void;

  /** Length of `saved` for embeddingForward. */
  embeddingSavedFloats(spec: EmbeddingSpec, tokens: number): number;
  /** y `[tokens, hidden]`; `parameters` in the order of embeddingParameterNames (tokenType null if there is none). */
  embeddingForward(
    spec: EmbeddingSpec,
    inputIds: Int32Array,
    tokenTypeIds: Int32Array,
    offsets: Int32Array,
    parameters: readonly (Float32Array | null)[],
    y: Float32Array,
    saved: Float32Array | null,
  ): void;
  /**
   * The gradients of word, position and token type embeddings are overwritten only in the rows that occur in the
   * batch: the caller hands in arrays that are zero elsewhere.
   */
  embeddingBackward(
    spec: EmbeddingSpec,
    inputIds: Int32Array,
    tokenTypeIds: Int32Array,
    offsets: Int32Array,
    parameters: readonly (Float32Array | null)[],
    saved: Float32Array,
    dy: Float32Array,
    gradients: readonly (Float32Array | null)[],
  ): void;

  /**
   * Mean cross-entropy of softmax(logits `[rows, classes]`) against `labels` `[rows]`; rows with label -100 count
   * nothing. `dlogits` `[rows, classes]` or null: the gradient of the mean. The loss of no counted row is 0.
   */
  softmaxCrossEntropy(
    logits: Float32Array,
    labels: Int32Array,
    classes: number,
    dlogits: Float32Array | null,
  ): { loss: number; counted: number };

  /** One AdamW step (Loshchilov and Hutter 2019) over all tensors; gradients are multiplied by `gradientScale`. */
  adamw(
    tensors: readonly AdamwTensor[],
    options: { beta1: number; beta2: number; epsilon: number; gradientScale: number },
  ): void;
  /** Euclidean norm of all gradients together. */
  gradientNorm(tensors: readonly Pick<AdamwTensor, 'gradient'>[]): number;
}

/** One use of dropout in a model. */
export interface DropoutSpec extends DropoutCounter {
  /** In (0, 1). */
  rate: number;
  /** Index of the layer; 0 for the embedding. */
  layer: number;
  site: 'embedding' | 'attentionProbabilities' | 'attentionOutput' | 'output';
}

/**
 * native/addon/dropout_glue.cc. The masks are those that blockForward and embeddingForward apply, as 0 and 1; both
 * functions that make them return the factor on what is kept.
 */
export interface DropoutBinding {
  /** y = dropout(x), of hidden states `[rows, width]` of the tokens 0 .. rows - 1. y may be x. */
  dropRows(spec: DropoutSpec, x: Float32Array, width: number, y: Float32Array): void;
  /** `keep` `[rows, width]`: of the hidden states of the tokens `rows`. */
  dropoutKeepRows(spec: DropoutSpec, rows: Int32Array, width: number, keep: Uint8Array): number;
  /** `keep` `[sequences, heads, longest, longest]`: of the attention probabilities, 1 outside a sequence. */
  dropoutKeepProbabilities(
    spec: DropoutSpec,
    offsets: Int32Array,
    heads: number,
    longest: number,
    keep: Uint8Array,
  ): number;
}

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

/** Opaque: a WordPiece tokenizer. */
export interface TextEncoderHandle {
  readonly textEncoder: unique symbol;
}

/** What tokenizer.json says of a WordPiece tokenizer with BERT's normalizer and pre-tokenizer. */
export interface TextEncoderSpec {
  /** BertNormalizer. */
  cleanText: boolean;
  handleChinese: boolean;
  stripAccents: boolean;
  lowercase: boolean;
  /** Every entry end to end, the UTF-16 code units of each, and its id. */
  vocabulary: string;
  vocabularyLengths: Int32Array;
  vocabularyIds: Int32Array;
  /** `[UNK]`, which must be in the vocabulary, and `##`. */
  unknown: string;
  prefix: string;
  /** In code points; longer words are unknown. */
  longestWord: number;
  /** `content`: code points. */
  added: {
    id: number;
    content: Int32Array;
    singleWord: boolean;
    lstrip: boolean;
    rstrip: boolean;
    normalized: boolean;
  }[];
  /** `[items, 2]` of one text and of a pair: a special token's id, or -1 and -2 for the texts; and a token type. */
  single: Int32Array;
  pair: Int32Array;
  /** RobertaProcessing's `trim_offsets`, with its `add_prefix_space`. */
  trimOffsets: boolean;
  keepFirstSpace: boolean;
}

export interface TextEncodeOptions {
  /** Most tokens of an input, special ones included; may be Infinity. */
  maxLength: number;
  /** What is told beside ids. */
  words: boolean;
  places: boolean;
  /** At most; 0 is the machine's default. Results do not depend on it. */
  threads: number;
}

/** A ragged batch of encoded inputs; all arrays are views of one buffer. */
export interface EncodedTexts {
  /** `[tokens]` */
  inputIds: Int32Array;
  tokenTypeIds: Int32Array;
  /** `[inputs + 1]` */
  offsets: Int32Array;
  /** `[tokens]`, -1 for special tokens; empty if not asked for. */
  wordIds: Int32Array;
  /** `[tokens, 2]` UTF-16 code units of each token's own string; empty if not asked for. */
  places: Int32Array;
  /** `[inputs]`, 1 where tokens were cut off. */
  truncated: Uint8Array;
}

/**
 * native/addon/text_glue.cc. Inputs are strings end to end in `text`, `lengths` `[strings]` UTF-16 code units of each,
 * and `forms` `[inputs]`: 0 for one text, 1 for two, 2 + n for n words.
 */
export interface TextBinding {
  textEncoder(spec: TextEncoderSpec): TextEncoderHandle;
  /** On the calling thread and the pool. */
  textEncode(
    encoder: TextEncoderHandle,
    text: string,
    lengths: Int32Array,
    forms: Int32Array,
    options: TextEncodeOptions,
  ): EncodedTexts;
  /** The same off the JavaScript thread. */
  textEncodeAsync(
    encoder: TextEncoderHandle,
    text: string,
    lengths: Int32Array,
    forms: Int32Array,
    options: TextEncodeOptions,
    abort?: Int32Array,
  ): Promise<EncodedTexts>;
}

export type NativeBinding = MachineBinding &
  FormatsBinding &
  EngineBinding &
  TextBinding &
  TensorBinding &
  TrainingBinding &
  DropoutBinding &
  CompressBinding;
