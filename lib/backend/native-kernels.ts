/** Operations of TensorFlow.js that the backend `whittle` computes natively. */
import * as tf from '@tensorflow/tfjs-core';
import { native } from '../../bindings/load.js';
import { backendName, type WhittleBackend } from './whittle-backend.js';

type Inputs = Record<string, tf.TensorInfo>;
type Kernel = (inputs: Inputs, attributes: Record<string, unknown>, backend: WhittleBackend) => tf.TensorInfo;

/** Replaces a kernel that was copied from the CPU backend. `original` computes what the native one does not cover. */
function override(kernelName: string, create: (original: Kernel) => Kernel): void {
  const copied = tf.getKernel(kernelName, backendName);
  const original: Kernel = (inputs, attributes, backend) =>
    copied.kernelFunc({ inputs, attrs: attributes as tf.NamedAttrMap, backend }) as tf.TensorInfo;
  const kernel = create(original);
  tf.unregisterKernel(kernelName, backendName);
  tf.registerKernel({
    kernelName,
    backendName,
    kernelFunc: ({ inputs, attrs, backend }) =>
      kernel(inputs as Inputs, (attrs ?? {}) as Record<string, unknown>, backend as WhittleBackend),
  });
}

const size = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

/** Replaces the hot kernels of the CPU backend. */
export function overrideKernels(): void {
  override(tf.BatchMatMul, (original) => (inputs, attributes, backend) => {
    const { a, b } = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
    if (a.dtype !== 'float32' || b.dtype !== 'float32') return original(inputs, attributes, backend);
    return matmul(a, b, attributes as unknown as MatmulAttributes, backend) ?? original(inputs, attributes, backend);
  });

  override(tf._FusedMatMul, (original) => (inputs, attributes, backend) => {
    const { a, b, bias, preluActivationWeights } = inputs;
    const plain = attributes.activation === 'linear' && !preluActivationWeights;
    if (!plain || a!.dtype !== 'float32' || b!.dtype !== 'float32' || (bias && bias.shape.length !== 1))
      return original(inputs, attributes, backend);
    return (
      matmul(a!, b!, attributes as unknown as MatmulAttributes, backend, bias) ?? original(inputs, attributes, backend)
    );
  });

  override(tf.Softmax, (original) => (inputs, attributes, backend) => {
    const logits = inputs.logits!;
    const last = logits.shape.length - 1;
    const dim = attributes.dim as number;
    if (logits.dtype !== 'float32' || last < 0 || (dim !== last && dim !== -1) || size(logits.shape) === 0)
      return original(inputs, attributes, backend);
    const y = backend.floats(size(logits.shape));
    native.softmax(backend.valuesOf(logits), logits.shape[last]!, y);
    return backend.tensorInfo(logits.shape, y);
  });

  override(tf.GatherV2, (original) => (inputs, attributes, backend) => {
    const { x, indices } = inputs as { x: tf.TensorInfo; indices: tf.TensorInfo };
    const ids = backend.integersOf(indices);
    const rows = x.shape[0] ?? 0;
    const inRange = ids.every((id) => id >= 0 && id < rows);
    if (attributes.axis !== 0 || attributes.batchDims !== 0 || x.dtype !== 'float32' || !inRange)
      return original(inputs, attributes, backend);
    const width = size(x.shape.slice(1));
    const y = backend.floats(ids.length * width);
    if (y.length > 0) native.gatherRows(backend.valuesOf(x), width, ids, y);
    return backend.tensorInfo([...indices.shape, ...x.shape.slice(1)], y);
  });

  // The gradient of GatherV2. Negative ids are dropped, which the native kernel leaves to the original.
  override(tf.UnsortedSegmentSum, (original) => (inputs, attributes, backend) => {
    const { x, segmentIds } = inputs as { x: tf.TensorInfo; segmentIds: tf.TensorInfo };
    const segments = attributes.numSegments as number;
    const ids = backend.integersOf(segmentIds);
    if (x.dtype !== 'float32' || ids.length === 0 || ids.some((id) => id < 0 || id >= segments))
      return original(inputs, attributes, backend);
    const width = size(x.shape) / ids.length;
    const y = backend.floats(segments * width);
    native.scatterAddRows(backend.valuesOf(x), width, ids, y);
    return backend.tensorInfo([segments, ...x.shape.slice(segmentIds.shape.length)], y);
  });

  // The CPU kernels divide by the operands' lengths at every element, in case of broadcasting. A loop each: with the
  // operator handed in as a function, it would be called for every element.
  override(tf.Add, (original) => (inputs, attributes, backend) => {
    const operands = sameShape(inputs, backend);
    if (!operands) return original(inputs, attributes, backend);
    const { x, y, result } = operands;
    for (let index = 0; index < result.length; index++) result[index] = x[index]! + y[index]!;
    return backend.tensorInfo(inputs.a!.shape, result);
  });

  override(tf.Multiply, (original) => (inputs, attributes, backend) => {
    const operands = sameShape(inputs, backend);
    if (!operands) return original(inputs, attributes, backend);
    const { x, y, result } = operands;
    for (let index = 0; index < result.length; index++) result[index] = x[index]! * y[index]!;
    return backend.tensorInfo(inputs.a!.shape, result);
  });
}

/** The operands' values and room for the result; undefined unless both are float32 of one shape. */
function sameShape({ a, b }: Inputs, backend: WhittleBackend) {
  const isSame = a!.shape.length === b!.shape.length && a!.shape.every((length, axis) => length === b!.shape[axis]);
  if (!isSame || a!.dtype !== 'float32' || b!.dtype !== 'float32') return undefined;
  const x = backend.valuesOf(a!);
  return { x, y: backend.valuesOf(b!), result: backend.floats(x.length) };
}

interface MatmulAttributes {
  transposeA: boolean;
  transposeB: boolean;
}

/** `a [..., m, k]` times `b [..., k, n]`; undefined for batches that broadcast in a way the native kernel lacks. */
function matmul(
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  { transposeA, transposeB }: MatmulAttributes,
  backend: WhittleBackend,
  bias?: tf.TensorInfo,
): tf.TensorInfo | undefined {
  const [aRows, aColumns] = a.shape.slice(-2) as [number, number];
  const [bRows, bColumns] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [aColumns, aRows] : [aRows, aColumns];
  const [inner, n] = transposeB ? [bColumns, bRows] : [bRows, bColumns];
  if (k !== inner)
    throw new Error(`Error in matMul: inner shapes (${k}) and (${inner}) of shapes ${a.shape} and ${b.shape} differ`);
  const aBatch = a.shape.slice(0, -2);
  const bBatch = b.shape.slice(0, -2);
  const batches = [size(aBatch), size(bBatch)] as const;
  const equal = aBatch.length === bBatch.length && aBatch.every((length, axis) => length === bBatch[axis]);
  if (!equal && batches[0] !== 1 && batches[1] !== 1) return undefined;
  const batch = Math.max(...batches);
  if (batch * m * n === 0 || k === 0) return undefined;
  const shape = [...(batches[0] >= batches[1] && aBatch.length >= bBatch.length ? aBatch : bBatch), m, n];
  const c = backend.floats(batch * m * n);
  native.matmul(backend.valuesOf(a), backend.valuesOf(b), c, {
    m,
    n,
    k,
    transposeA,
    transposeB,
    batch,
    strideA: batches[0] === 1 ? 0 : m * k,
    strideB: batches[1] === 1 ? 0 : k * n,
    ...(bias && { bias: backend.valuesOf(bias) }),
    precision: 'float32',
  });
  return backend.tensorInfo(shape, c);
}
