/**
 * Kernels that exist on the backend `whittle` alone, each one entry on the gradient tape: `TransformerBlock` in four forms,
 * `Embedding`, `Dropout`, `SoftmaxCrossEntropy`, `LayerNorm` and `Gelu`. What a backward pass needs beside its inputs is kept in
 * a buffer of the pool that travels in the call's attributes, beside the tape, and returns to the pool afterwards.
 */
import * as tf from '@tensorflow/tfjs-core';
import { native } from '../../bindings/load.js';
import type { BlockPacked, BlockSpec, DropoutSpec, EmbeddingSpec } from '../../bindings/native.js';
import { backendName, type WhittleBackend } from './whittle-backend.js';

/** Which gradients a call will be asked for; with none, nothing is saved. */
export interface Wanted {
  input: boolean;
  /** In the order of the parameters. */
  parameters: readonly boolean[];
  /** Of a block that has one. */
  positionBias?: boolean;
  /**
   * Of a block: keep nothing but its input, and run the forward pass once more when the gradients are due (Chen et al.
   * 2016, sublinear memory cost). They are the same bit for bit, since dropout's choices hang on a counter.
   */
  recompute?: boolean | undefined;
}

/** Tokens as the native kernels take them. */
export interface RaggedIds {
  /** `[tokens]` */
  inputIds: Int32Array;
  /** `[tokens]` */
  tokenTypeIds: Int32Array;
  /** `[sequences + 1]` */
  offsets: Int32Array;
}

/**
 * The parameters of a block or an embedding. They are not on the tape, where a hundred of them cost more time than small
 * batches have: whoever asks for gradients gets theirs beside the tape's.
 */
export interface CallParameters {
  /** In the order of the native kernel; they must live until the gradients are there. */
  values: readonly tf.Tensor[];
  /** A scalar on the tape in their place: it makes the tape lead to a call whose other inputs are constants. */
  anchor: tf.Tensor;
  /** Takes the gradient of a parameter, which is its own from then on. */
  take?: ((index: number, gradient: tf.Tensor) => void) | undefined;
}

/** What one call's forward pass leaves for its backward pass. */
interface Memory {
  saved: Float32Array | null;
}

interface FusedKernel<A> {
  name: string;
  /** Names of the inputs, in order; all of them are saved for the backward pass. */
  inputs: readonly string[];
  forward: (inputs: Float32Array[], infos: tf.TensorInfo[], attributes: A, backend: WhittleBackend) => tf.TensorInfo;
  /** Gradients in the order of the inputs; null for those not wanted. */
  backward: (
    dy: Float32Array,
    inputs: Float32Array[],
    infos: tf.Tensor[],
    attributes: A,
    backend: WhittleBackend,
  ) => (Float32Array | null)[];
}

const currentBackend = () => tf.backend() as unknown as WhittleBackend;
const zeros = ({ shape }: tf.Tensor) => tf.zeros(shape);

/** Registers the kernel and its gradient, and returns the operation. */
function define<A extends object>(kernel: FusedKernel<A>): (inputs: tf.Tensor[], attributes: A) => tf.Tensor {
  const inOrder = <T>(inputs: Record<string, T>) => kernel.inputs.map((name) => inputs[name]!);
  tf.registerKernel({
    kernelName: kernel.name,
    backendName,
    kernelFunc: ({ inputs, attrs, backend: any }) => {
      const backend = any as WhittleBackend;
      const infos = inOrder(inputs as Record<string, tf.TensorInfo>);
      return kernel.forward(
        infos.map((info) => backend.valuesOf(info)),
        infos,
        attrs as unknown as A,
        backend,
      );
    },
  });
  tf.registerGradient({
    kernelName: kernel.name,
    inputsToSave: [...kernel.inputs],
    gradFunc: (dy, saved, attrs) => {
      const backend = currentBackend();
      const gradients = kernel.backward(
        backend.valuesOf((Array.isArray(dy) ? dy[0]! : dy) as tf.Tensor),
        saved.map((tensor) => backend.valuesOf(tensor)),
        saved,
        attrs as unknown as A,
        backend,
      );
      return Object.fromEntries(
        kernel.inputs.map((name, index) => [
          name,
          () => {
            const gradient = gradients[index];
            const input = saved[index]!;
            if (!gradient) return zeros(input);
            return tf.engine().makeTensorFromTensorInfo(backend.tensorInfo(input.shape, gradient), backend);
          },
        ]),
      );
    },
  });
  return (inputs, attributes) =>
    tf
      .engine()
      .runKernel(
        kernel.name,
        Object.fromEntries(kernel.inputs.map((name, index) => [name, inputs[index]!])),
        attributes as unknown as tf.NamedAttrMap,
      );
}

/** Takes the buffer of a call's forward pass; a second backward pass of the same call is a defect. */
function claim(memory: Memory, kernelName: string): Float32Array {
  const { saved } = memory;
  if (!saved) throw new Error(`${kernelName}: its forward pass saved nothing, or its backward pass ran before`);
  memory.saved = null;
  return saved;
}

const wantsAny = ({ input, parameters, positionBias }: Wanted) => input || parameters.some(Boolean) || !!positionBias;

/** Hands out the gradients of parameters that there are. */
function handOut({ values, take }: CallParameters, gradients: (Float32Array | null)[], backend: WhittleBackend): void {
  gradients.forEach((gradient, index) => {
    if (!gradient) return;
    if (!take) throw new Error('nobody takes the gradients of the parameters');
    const info = backend.tensorInfo(values[index]!.shape, gradient);
    take(index, tf.keep(tf.engine().makeTensorFromTensorInfo(info, backend)));
  });
}

interface BlockAttributes {
  spec: BlockSpec;
  offsets: Int32Array;
  parameters: CallParameters;
  wanted: Wanted;
  packed: BlockPacked | undefined;
  memory: Memory;
}

/** A kernel has the same inputs at every call: x, and before and after it what some blocks have. */
function defineBlock(name: string, anchor: string[], bias: string[]) {
  const at = anchor.length;
  const all = (inputs: Float32Array[], { values }: CallParameters, backend: WhittleBackend) => [
    ...values.map((value) => backend.valuesOf(value)),
    ...inputs.slice(at + 1),
  ];
  return define<BlockAttributes>({
    name,
    inputs: [...anchor, 'x', ...bias],
    forward: (inputs, infos, { spec, offsets, parameters, wanted, packed, memory }, backend) => {
      const [x, { shape }] = [inputs[at]!, infos[at]!];
      const y = backend.floats(x.length);
      memory.saved =
        wantsAny(wanted) && !wanted.recompute
          ? backend.pool.take(native.blockSavedFloats(spec, shape[0]!, offsets.length - 1))
          : null;
      native.blockForward(spec, x, offsets, all(inputs, parameters, backend), y, memory.saved, packed);
      return backend.tensorInfo(shape, y);
    },
    backward: (dy, inputs, _, { spec, offsets, parameters, wanted, packed, memory }, backend) => {
      const x = inputs[at]!;
      const saved = wanted.recompute ? null : claim(memory, name);
      const dx = wanted.input ? backend.floats(x.length) : null;
      const values = all(inputs, parameters, backend);
      const wants = [...wanted.parameters, wanted.positionBias];
      const gradients = values.map(({ length }, index) => (wants[index] ? backend.floats(length) : null));
      native.blockBackward(spec, x, offsets, values, saved, dy, dx, gradients, packed);
      if (saved) backend.pool.give(saved);
      const ofBias = gradients.splice(parameters.values.length);
      handOut(parameters, gradients, backend);
      return [...anchor.map(() => null), dx, ...ofBias];
    },
  });
}

const runBlock = defineBlock('TransformerBlock', [], []);
const runAnchoredBlock = defineBlock('AnchoredTransformerBlock', ['anchor'], []);
const runBiasedBlock = defineBlock('BiasedTransformerBlock', [], ['positionBias']);
const runAnchoredBiasedBlock = defineBlock('AnchoredBiasedTransformerBlock', ['anchor'], ['positionBias']);

/**
 * One post-norm encoder layer over a ragged batch: `[tokens, hidden]` to `[tokens, hidden]`.
 *
 * @param parameters in the order of blockParameterNames.
 * @param positionBias `[heads, 2 * maxDistance - 1]`: element `[h, maxDistance - 1 + j - i]` is added to the scaled
 *   score of query i and key j in head h. No sequence may be longer than maxDistance. Its gradient, of the same shape,
 *   is the sum over all sequences and does not depend on the number of threads. A table of buckets `[buckets, heads]`
 *   gets into this form by `tf.gather` and `tf.transpose`, and its gradient back by theirs.
 * @param packed the weights as bf16 products read them, for those that are there already.
 * @throws WhittleError BAD_OPTION for shapes that do not fit one another.
 * @example
 * const table = tf.variable(tf.zeros([32, heads]));
 * const buckets = tf.tensor1d(bucketOfDistance, 'int32'); // [2 * maxDistance - 1], of distances 1 - maxDistance up
 * const bias = tf.transpose(tf.gather(table, buckets)) as tf.Tensor2D;
 * const wanted = { input: true, parameters: values.map(() => true), positionBias: true };
 * const gradients: tf.Tensor[] = [];
 * const parameters = { values, anchor: tf.variable(tf.scalar(0)), take: (index, gradient) => (gradients[index] = gradient) };
 * const y = transformerBlock(x, parameters, offsets, spec, wanted, bias);
 */
export function transformerBlock(
  x: tf.Tensor2D,
  parameters: CallParameters,
  offsets: Int32Array,
  spec: BlockSpec,
  wanted: Wanted,
  positionBias?: tf.Tensor2D,
  packed?: BlockPacked,
): tf.Tensor2D {
  const attributes = { spec, offsets, parameters, wanted, packed, memory: { saved: null } };
  const { anchor } = parameters;
  if (positionBias)
    return (
      wanted.input
        ? runBiasedBlock([x, positionBias], attributes)
        : runAnchoredBiasedBlock([anchor, x, positionBias], attributes)
    ) as tf.Tensor2D;
  return (wanted.input ? runBlock([x], attributes) : runAnchoredBlock([anchor, x], attributes)) as tf.Tensor2D;
}

interface EmbeddingAttributes {
  spec: EmbeddingSpec;
  ids: RaggedIds;
  parameters: CallParameters;
  wanted: Wanted;
  memory: Memory;
}

const runEmbedding = define<EmbeddingAttributes>({
  name: 'Embedding',
  inputs: ['anchor'],
  forward: (_, __, { spec, ids, parameters, wanted, memory }, backend) => {
    const tokens = ids.inputIds.length;
    const y = backend.floats(tokens * spec.hidden);
    memory.saved = wantsAny(wanted) ? backend.pool.take(native.embeddingSavedFloats(spec, tokens)) : null;
    const { inputIds, tokenTypeIds, offsets } = ids;
    native.embeddingForward(spec, inputIds, tokenTypeIds, offsets, tables(parameters, backend), y, memory.saved);
    return backend.tensorInfo([tokens, spec.hidden], y);
  },
  backward: (dy, _, __, { spec, ids, parameters, wanted, memory }, backend) => {
    const saved = claim(memory, 'Embedding');
    const { inputIds, tokenTypeIds, offsets } = ids;
    // The native kernel writes only the rows that occur in the batch: few of the words.
    const zeros = (length: number, index: number) =>
      index === 0
        ? backend.sparseFloats(length, { rows: Int32Array.from(new Set(inputIds)).sort(), columns: spec.hidden })
        : backend.floats(length).fill(0);
    const gradients = parameters.values.map(({ size }, index) =>
      wanted.parameters[index] && size ? zeros(size, index) : null,
    );
    const values = tables(parameters, backend);
    native.embeddingBackward(spec, inputIds, tokenTypeIds, offsets, values, saved, dy, gradients);
    backend.pool.give(saved);
    handOut(parameters, gradients, backend);
    return [null];
  },
});

/** A model without token types has an empty table of them. */
function tables({ values }: CallParameters, backend: WhittleBackend): (Float32Array | null)[] {
  return values.map((value) => (value.size ? backend.valuesOf(value) : null));
}

/**
 * Word, position and token type embeddings, LayerNorm, dropout: `[tokens, hidden]`.
 * @param parameters in the order of embeddingParameterNames; `[0, hidden]` in place of token types that a model lacks.
 */
export function embedding(
  ids: RaggedIds,
  parameters: CallParameters,
  spec: EmbeddingSpec,
  wanted: Wanted,
): tf.Tensor2D {
  const attributes = { spec, ids, parameters, wanted, memory: { saved: null } };
  return runEmbedding([parameters.anchor], attributes) as tf.Tensor2D;
}

const runDropout = define<{ spec: DropoutSpec }>({
  name: 'Dropout',
  inputs: ['x'],
  forward: ([x], [info], { spec }, backend) => {
    const y = backend.floats(x!.length);
    native.dropRows(spec, x!, info!.shape[1]!, y);
    return backend.tensorInfo(info!.shape, y);
  },
  backward: (dy, _, [x], { spec }, backend) => {
    const dx = backend.floats(dy.length);
    native.dropRows(spec, dy, x!.shape[1]!, dx);
    return [dx];
  },
});

/** Dropout of rows `x` `[rows, width]`, with the mask that the layers would give the tokens 0 .. rows - 1. */
export function nativeDropout(x: tf.Tensor2D, spec: DropoutSpec): tf.Tensor2D {
  return runDropout([x], { spec }) as tf.Tensor2D;
}

const runCrossEntropy = define<{ labels: Int32Array; memory: Memory }>({
  name: 'SoftmaxCrossEntropy',
  inputs: ['logits'],
  forward: ([logits], [info], { labels, memory }, backend) => {
    memory.saved = backend.pool.take(logits!.length);
    const { loss } = native.softmaxCrossEntropy(logits!, labels, info!.shape[1]!, memory.saved);
    return backend.tensorInfo([], Float32Array.of(loss));
  },
  backward: ([dy], _, __, { memory }, backend) => {
    const saved = claim(memory, 'SoftmaxCrossEntropy');
    const gradient = backend.floats(saved.length);
    for (let index = 0; index < saved.length; index++) gradient[index] = saved[index]! * dy!;
    backend.pool.give(saved);
    return [gradient];
  },
});

/** Mean cross-entropy of `logits` `[rows, classes]` against `labels` `[rows]`; rows labelled -100 count nothing. */
export function nativeCrossEntropy(logits: tf.Tensor2D, labels: Int32Array): tf.Scalar {
  return runCrossEntropy([logits], { labels, memory: { saved: null } }) as tf.Scalar;
}

const runLayerNorm = define<{ epsilon: number; memory: Memory }>({
  name: 'LayerNorm',
  inputs: ['x', 'gamma', 'beta'],
  forward: ([x, gamma, beta], [info], { epsilon, memory }, backend) => {
    const rows = x!.length / gamma!.length;
    const y = backend.floats(x!.length);
    memory.saved = backend.pool.take(2 * rows);
    const [mean, rstd] = [memory.saved.subarray(0, rows), memory.saved.subarray(rows)];
    native.layerNorm(x!, gamma!, beta!, epsilon, y, mean, rstd);
    return backend.tensorInfo(info!.shape, y);
  },
  backward: (dy, [x, gamma], _, { memory }, backend) => {
    const saved = claim(memory, 'LayerNorm');
    const rows = saved.length / 2;
    const dx = backend.floats(x!.length);
    const [dgamma, dbeta] = [backend.floats(gamma!.length), backend.floats(gamma!.length)];
    native.layerNormBackward(dy, x!, gamma!, saved.subarray(0, rows), saved.subarray(rows), dx, dgamma, dbeta);
    backend.pool.give(saved);
    return [dx, dgamma, dbeta];
  },
});

/** LayerNorm over the last axis. */
export function nativeLayerNorm(x: tf.Tensor, gamma: tf.Tensor1D, beta: tf.Tensor1D, epsilon: number): tf.Tensor {
  return runLayerNorm([x, gamma, beta], { epsilon, memory: { saved: null } });
}

const runGelu = define<object>({
  name: 'Gelu',
  inputs: ['x'],
  forward: ([x], [info], _, backend) => {
    const y = backend.floats(x!.length);
    native.gelu(x!, y);
    return backend.tensorInfo(info!.shape, y);
  },
  backward: (dy, [x], _, __, backend) => {
    const dx = backend.floats(x!.length);
    native.geluBackward(x!, dy, dx);
    return [dx];
  },
});

/** GELU in its erf form. */
export function nativeGelu(x: tf.Tensor): tf.Tensor {
  return runGelu([x], {});
}
