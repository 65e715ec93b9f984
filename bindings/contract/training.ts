/** Kernels of the training and of tensors: native/addon/{training,tensor,dropout}_glue.cc. */

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

/** The weights that products multiply with, in the order of BlockPacked. */
export const blockWeightNames = [
  'attention.query.weight',
  'attention.key.weight',
  'attention.value.weight',
  'attention.output.weight',
  'intermediate.weight',
  'output.weight',
] as const;

/**
 * Arrays of packedWeightFloats, by blockWeightNames, that hold the weights as they are now (adamw writes them); null
 * for those that the call has to pack.
 */
export type BlockPacked = readonly (Float32Array | null)[];

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
  mask?: Uint8Array | undefined;
  /** Of a parameter that is a matrix; `gradientRows` and `packed` need it. */
  columns?: number | undefined;
  /** The rows of the gradient that may not be zero, ascending; all of them unless given. */
  gradientRows?: Int32Array | undefined;
  /** An array of packedWeightFloats: written from the new parameter. */
  packed?: Float32Array | undefined;
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
    packed?: BlockPacked,
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
    packed?: BlockPacked,
  ): void;
  /**
   * Length of the array, made by allocateFloats, that holds a weight `[rows, columns]` as bf16 products read it, for the
   * forward and the backward pass. 0 where products in this precision do not.
   */
  packedWeightFloats(rows: number, columns: number, precision: TrainingPrecision): number;

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

  /**
   * One AdamW step (Loshchilov and Hutter 2019) over all tensors; gradients are multiplied by `gradientScale`. With
   * `decayInGradient` it is Adam's: the weight decay is an L2 term of the gradient.
   */
  adamw(
    tensors: readonly AdamwTensor[],
    options: { beta1: number; beta2: number; epsilon: number; gradientScale: number; decayInGradient?: boolean },
  ): void;
  /** Euclidean norm of all gradients together. */
  gradientNorm(tensors: readonly Pick<AdamwTensor, 'gradient' | 'gradientRows' | 'columns'>[]): number;
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
