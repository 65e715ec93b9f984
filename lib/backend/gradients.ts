/**
 * Gradients of the TensorFlow.js operations that models and objectives are made of. The core package as Node loads it
 * registers none, and its own are not importable there. A gradient that somebody registered already is kept.
 */
import * as tf from '@tensorflow/tfjs-core';

type Saved = tf.Tensor[];
type Thunks = Record<string, () => tf.Tensor>;

interface Gradient {
  inputs?: string[];
  output?: boolean;
  /** `saved`: the inputs named, then the output if wanted. */
  of: (dy: tf.Tensor, saved: Saved, attributes: Record<string, unknown>) => Thunks;
}

/** Sums `dy` over the axes along which an operand of this shape was broadcast. */
function reduceTo(dy: tf.Tensor, shape: number[]): tf.Tensor {
  const added = dy.rank - shape.length;
  const axes = dy.shape.map((_, axis) => axis).filter((axis) => axis < added || shape[axis - added] !== dy.shape[axis]);
  return tf.reshape(axes.length ? tf.sum(dy, axes) : dy, shape);
}

/** `dy` of a reduction, with the reduced axes back as 1. */
function keepAxes(dy: tf.Tensor, x: tf.Tensor, axis: unknown): tf.Tensor {
  const axes = tf.util.parseAxisParam(axis as number | number[], x.shape);
  return tf.reshape(
    dy,
    x.shape.map((length, index) => (axes.includes(index) ? 1 : length)),
  );
}

/** Of an operation with operands a and b that broadcast. */
function binary(
  a: (dy: tf.Tensor, x: tf.Tensor, y: tf.Tensor) => tf.Tensor,
  b: (dy: tf.Tensor, x: tf.Tensor, y: tf.Tensor) => tf.Tensor,
): Gradient {
  return {
    inputs: ['a', 'b'],
    of: (dy, [x, y]) => ({
      a: () => reduceTo(a(dy, x!, y!), x!.shape),
      b: () => reduceTo(b(dy, x!, y!), y!.shape),
    }),
  };
}

const fromInput = (of: (dy: tf.Tensor, x: tf.Tensor) => tf.Tensor): Gradient => ({
  inputs: ['x'],
  of: (dy, [x]) => ({ x: () => of(dy, x!) }),
});

const fromOutput = (of: (dy: tf.Tensor, y: tf.Tensor) => tf.Tensor): Gradient => ({
  output: true,
  of: (dy, [y]) => ({ x: () => of(dy, y!) }),
});

/** Maxima that tie share nothing: each gets the whole gradient, as in TensorFlow.js. */
const extremum: Gradient = {
  inputs: ['x'],
  output: true,
  of: (dy, [x, y], { reductionIndices, axis }) => ({
    x: () => {
      const kept = keepAxes(y!, x!, reductionIndices ?? axis);
      return tf.mul(keepAxes(dy, x!, reductionIndices ?? axis), tf.cast(tf.equal(x!, kept), 'float32'));
    },
  }),
};

/**
 * Adds up what was taken from each place. With x as `[batch, outer, places, inner]` and dy as
 * `[batch, outer, taken, inner]`, every taken row `[outer, inner]` goes to the place that its batch and index say.
 */
function gatherGradient(
  dy: tf.Tensor,
  x: tf.Tensor,
  indices: tf.Tensor,
  { axis: given, batchDims }: { axis: number; batchDims: number },
): tf.Tensor {
  const [axis] = tf.util.parseAxisParam(given, x.shape) as [number];
  const size = (lengths: number[]) => lengths.reduce((product, length) => product * length, 1);
  const batch = size(x.shape.slice(0, batchDims));
  const outer = size(x.shape.slice(batchDims, axis));
  const places = x.shape[axis]!;
  const inner = size(x.shape.slice(axis + 1));
  const taken = indices.size / Math.max(1, batch);
  const swapped = (rows: tf.Tensor) => (outer === 1 ? rows : tf.transpose(rows, [0, 2, 1, 3]));
  const rows = swapped(tf.reshape(dy, [batch, outer, taken, inner]));
  const firstPlaces = tf.mul(tf.range(0, batch, 1, 'int32'), tf.scalar(places, 'int32'));
  const segments = tf.add(tf.reshape(indices, [batch, taken]), tf.reshape(firstPlaces, [batch, 1]));
  const sums = sumOfRows(
    tf.reshape(rows, [batch * taken, outer * inner]) as tf.Tensor2D,
    tf.reshape(segments, [batch * taken]) as tf.Tensor1D,
    batch * places,
  );
  return tf.reshape(swapped(tf.reshape(sums, [batch, places, outer, inner])), x.shape);
}

/** `[segments, width]` sums of the rows `[count, width]` of each segment; the backend `wasm` lacks the usual kernel. */
function sumOfRows(rows: tf.Tensor2D, segmentOf: tf.Tensor1D, segments: number): tf.Tensor {
  if (tf.getKernel(tf.UnsortedSegmentSum, tf.getBackend())) return tf.unsortedSegmentSum(rows, segmentOf, segments);
  return tf.scatterND(tf.reshape(segmentOf, [-1, 1]), rows, [segments, rows.shape[1]]);
}

const gradients: Record<string, Gradient> = {
  [tf.Add]: binary(
    (dy) => dy,
    (dy) => dy,
  ),
  [tf.Sub]: binary(
    (dy) => dy,
    (dy) => tf.neg(dy),
  ),
  [tf.Multiply]: binary(
    (dy, _, y) => tf.mul(dy, y),
    (dy, x) => tf.mul(dy, x),
  ),
  [tf.RealDiv]: binary(
    (dy, _, y) => tf.div(dy, y),
    (dy, x, y) => tf.neg(tf.div(tf.mul(dy, x), tf.square(y))),
  ),
  [tf.SquaredDifference]: binary(
    (dy, x, y) => tf.mul(dy, tf.mul(2, tf.sub(x, y))),
    (dy, x, y) => tf.mul(dy, tf.mul(2, tf.sub(y, x))),
  ),
  [tf.Maximum]: binary(
    (dy, x, y) => tf.mul(dy, tf.cast(tf.greaterEqual(x, y), 'float32')),
    (dy, x, y) => tf.mul(dy, tf.cast(tf.less(x, y), 'float32')),
  ),
  [tf.Minimum]: binary(
    (dy, x, y) => tf.mul(dy, tf.cast(tf.lessEqual(x, y), 'float32')),
    (dy, x, y) => tf.mul(dy, tf.cast(tf.greater(x, y), 'float32')),
  ),
  [tf.Neg]: { of: (dy) => ({ x: () => tf.neg(dy) }) },
  [tf.Abs]: fromInput((dy, x) => tf.mul(dy, tf.sign(x))),
  [tf.Square]: fromInput((dy, x) => tf.mul(dy, tf.mul(2, x))),
  [tf.Sqrt]: fromOutput((dy, y) => tf.div(dy, tf.mul(2, y))),
  [tf.Rsqrt]: fromInput((dy, x) => tf.neg(tf.div(dy, tf.mul(2, tf.mul(x, tf.sqrt(x)))))),
  [tf.Exp]: fromOutput((dy, y) => tf.mul(dy, y)),
  [tf.Log]: fromInput((dy, x) => tf.div(dy, x)),
  [tf.Log1p]: fromInput((dy, x) => tf.div(dy, tf.add(1, x))),
  [tf.Tanh]: fromOutput((dy, y) => tf.mul(dy, tf.sub(1, tf.square(y)))),
  [tf.Sigmoid]: fromOutput((dy, y) => tf.mul(dy, tf.mul(y, tf.sub(1, y)))),
  [tf.Relu]: fromInput((dy, x) => tf.mul(dy, tf.step(x))),
  // d/dx erf(x) = 2 / sqrt(pi) exp(-x^2)
  [tf.Erf]: fromInput((dy, x) => tf.mul(dy, tf.mul(2 / Math.sqrt(Math.PI), tf.exp(tf.neg(tf.square(x)))))),
  [tf.Cast]: { of: (dy) => ({ x: () => tf.cast(dy, 'float32') }) },
  [tf.Identity]: { of: (dy) => ({ x: () => tf.cast(dy, 'float32') }) },
  [tf.ZerosLike]: { of: (dy) => ({ x: () => tf.zerosLike(dy) }) },
  [tf.Reshape]: fromInput((dy, x) => tf.reshape(dy, x.shape)),
  [tf.ExpandDims]: { inputs: ['input'], of: (dy, [x]) => ({ input: () => tf.reshape(dy, x!.shape) }) },
  [tf.Transpose]: {
    of: (dy, _, { perm }) => ({
      x: () => {
        const back: number[] = [];
        (perm as number[]).forEach((from, to) => (back[from] = to));
        return tf.transpose(dy, back);
      },
    }),
  },
  [tf.Sum]: {
    inputs: ['x'],
    of: (dy, [x], { axis }) => ({ x: () => tf.mul(keepAxes(dy, x!, axis), tf.onesLike(x!)) }),
  },
  [tf.Mean]: {
    inputs: ['x'],
    of: (dy, [x], { axis }) => ({
      x: () => tf.mul(keepAxes(dy, x!, axis), tf.fill(x!.shape, dy.size / x!.size)),
    }),
  },
  [tf.Max]: extremum,
  [tf.Min]: extremum,
  [tf.Softmax]: {
    output: true,
    of: (dy, [y], { dim }) => ({
      logits: () => tf.mul(y!, tf.sub(dy, tf.sum(tf.mul(dy, y!), dim as number, true))),
    }),
  },
  [tf.LogSoftmax]: {
    output: true,
    of: (dy, [y], { axis }) => ({
      logits: () => tf.sub(dy, tf.mul(tf.exp(y!), tf.sum(dy, axis as number, true))),
    }),
  },
  [tf.BatchMatMul]: {
    inputs: ['a', 'b'],
    of: (dy, [a, b], attributes) => {
      const { transposeA, transposeB } = attributes as { transposeA: boolean; transposeB: boolean };
      return {
        a: () =>
          reduceTo(transposeA ? tf.matMul(b!, dy, transposeB, true) : tf.matMul(dy, b!, false, !transposeB), a!.shape),
        b: () =>
          reduceTo(transposeB ? tf.matMul(dy, a!, true, transposeA) : tf.matMul(a!, dy, !transposeA, false), b!.shape),
      };
    },
  },
  [tf.GatherV2]: {
    inputs: ['x', 'indices'],
    of: (dy, [x, indices], attributes) => ({
      x: () => gatherGradient(dy, x!, indices!, attributes as { axis: number; batchDims: number }),
      indices: () => tf.zeros(indices!.shape),
    }),
  },
  [tf.Slice]: {
    inputs: ['x'],
    of: (dy, [x], { begin }) => ({
      x: () => {
        const start = typeof begin === 'number' ? [begin] : (begin as number[]);
        const paddings = x!.shape.map((length, axis): [number, number] => {
          const before = start[axis] ?? 0;
          return [before, length - before - dy.shape[axis]!];
        });
        return tf.pad(dy, paddings);
      },
    }),
  },
  [tf.Select]: {
    inputs: ['condition'],
    of: (dy, [condition]) => ({
      condition: () => tf.zeros(condition!.shape),
      t: () => tf.mul(dy, tf.cast(condition!, 'float32')),
      e: () => tf.mul(dy, tf.cast(tf.logicalNot(condition!), 'float32')),
    }),
  },
};

/** The gradients as TensorFlow.js takes them. */
export const gradientConfigs: readonly tf.GradConfig[] = Object.entries(gradients).map(
  ([kernelName, { inputs = [], output = false, of }]) => ({
    kernelName,
    inputsToSave: inputs,
    outputsToSave: [output],
    gradFunc: (dy, saved, attributes) => of(dy as tf.Tensor, saved, attributes),
  }),
);

/** Registers them; a second call does nothing. */
export function registerGradients(): void {
  for (const config of gradientConfigs) if (!tf.getGradient(config.kernelName)) tf.registerGradient(config);
}
