/** Operations of the backend `whittle` against those of TensorFlow.js's own CPU backend, and how it keeps memory. */
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BufferPool } from '../../../lib/backend/buffer-pool.js';
import { crossEntropy, gelu, layerNorm } from '../../../lib/backend/operations.js';
import { useWhittleBackend } from '../../../lib/backend/register.js';
import type { WhittleBackend } from '../../../lib/backend/whittle-backend.js';
import { generator, normalValues } from '../../../lib/training/random.js';

const seed = 20;
const random = (shape: number[], stream: number) =>
  tf.tensor(
    normalValues(
      shape.reduce((product, length) => product * length, 1),
      1,
      generator(seed, stream),
    ),
    shape,
  );

/** Values and gradients (of the sum of squares) with respect to each input, on a backend. */
function resultsOn(backend: string, shapes: number[][], f: (...inputs: tf.Tensor[]) => tf.Tensor): number[][] {
  useWhittleBackend();
  tf.setBackend(backend);
  return tf.tidy(() => {
    const inputs = shapes.map(random);
    const { value, grads } = tf.engine().gradients(() => tf.sum(tf.square(f(...inputs))) as tf.Tensor, inputs);
    return [f(...inputs), value, ...grads].map((tensor) => [...tensor.dataSync()]);
  });
}

const labels = Int32Array.of(2, -100, 0, 4, 1);
const ids = [3, 0, 3, 6, 2, 3];
const cases: [string, number[][], (...inputs: tf.Tensor[]) => tf.Tensor][] = [
  [
    'matMul',
    [
      [7, 33],
      [33, 17],
    ],
    (a, b) => tf.matMul(a!, b!),
  ],
  [
    'matMul, first transposed',
    [
      [33, 7],
      [33, 17],
    ],
    (a, b) => tf.matMul(a!, b!, true),
  ],
  [
    'matMul, second transposed',
    [
      [7, 33],
      [17, 33],
    ],
    (a, b) => tf.matMul(a!, b!, false, true),
  ],
  [
    'matMul, both transposed',
    [
      [33, 7],
      [17, 33],
    ],
    (a, b) => tf.matMul(a!, b!, true, true),
  ],
  [
    'matMul, batched',
    [
      [2, 3, 5, 8],
      [2, 3, 8, 4],
    ],
    (a, b) => tf.matMul(a!, b!),
  ],
  [
    'matMul, one matrix for all',
    [
      [3, 5, 8],
      [1, 8, 4],
    ],
    (a, b) => tf.matMul(a!, b!),
  ],
  ['softmax', [[5, 67]], (x) => tf.softmax(x!)],
  ['logSoftmax', [[5, 67]], (x) => tf.logSoftmax(x!)],
  ['softmax, higher rank', [[2, 3, 4, 5]], (x) => tf.softmax(x!)],
  ['gather', [[7, 40]], (x) => tf.gather(x!, tf.tensor1d(ids, 'int32'))],
  ['gather, ids of higher rank', [[7, 5]], (x) => tf.gather(x!, tf.tensor2d(ids, [2, 3], 'int32'))],
  [
    'add and mul, same shape',
    [
      [40, 41],
      [40, 41],
    ],
    (a, b) => tf.mul(tf.add(a!, b!), b!),
  ],
  ['add and mul, broadcast', [[40, 41], [41]], (a, b) => tf.mul(tf.add(a!, b!), b!)],
  [
    'div and sub',
    [
      [6, 5],
      [6, 1],
    ],
    (a, b) => tf.sub(tf.div(a!, tf.add(tf.square(b!), 1)), b!),
  ],
  ['mean and max', [[6, 5]], (x) => tf.add(tf.mean(x!, 1), tf.max(x!, 1))],
  ['tanh, exp, erf', [[6, 5]], (x) => tf.mul(tf.tanh(x!), tf.mul(tf.exp(x!), tf.erf(x!)))],
  ['slice and transpose', [[6, 5]], (x) => tf.transpose(tf.slice(x!, [1, 2], [4, 3]))],
  ['layerNorm', [[9, 35], [35], [35]], (x, g, b) => layerNorm(x!, g as tf.Tensor1D, b as tf.Tensor1D, 1e-12)],
  ['gelu', [[9, 35]], (x) => gelu(x!)],
  ['crossEntropy', [[5, 6]], (x) => crossEntropy(x as tf.Tensor2D, labels)],
];

for (const [name, shapes, f] of cases)
  test(`${name}: values and gradients as on the CPU backend (seed ${seed})`, () => {
    const expected = resultsOn('cpu', shapes, f);
    const actual = resultsOn('whittle', shapes, f);
    expected.forEach((values, which) => {
      assert.is(actual[which]!.length, values.length);
      values.forEach((value, at) => {
        const error = Math.abs(actual[which]![at]! - value) / (1 + Math.abs(value));
        assert.ok(error <= 2e-5, `result ${which} [${at}]: ${actual[which]![at]} is not ${value}`);
      });
    });
  });

test('gradients of the CPU backend are those of differences', () => {
  for (const [name, shapes, f] of cases) {
    if (name.startsWith('mean and max')) continue; // not smooth
    useWhittleBackend();
    tf.setBackend('cpu');
    tf.tidy(() => {
      const inputs = shapes.map(random);
      // A generic linear functional of the result, so that no gradient vanishes by symmetry.
      const weights = random(f(...inputs).shape, 99);
      const loss = (...values: tf.Tensor[]) => tf.sum(tf.mul(f(...values), weights)) as tf.Tensor;
      const { grads } = tf.engine().gradients(() => loss(...inputs), inputs);
      inputs.forEach((input, which) => {
        const direction = random(input.shape, 7 + which);
        const step = 1e-2;
        const at = (sign: number) =>
          loss(...inputs.map((x, i) => (i === which ? tf.add(x, tf.mul(direction, sign * step)) : x))).dataSync()[0]!;
        const numeric = (at(1) - at(-1)) / (2 * step);
        const exact = tf.sum(tf.mul(grads[which]!, direction)).dataSync()[0]!;
        const scale = Math.max(1, tf.norm(grads[which]!).dataSync()[0]! * tf.norm(direction).dataSync()[0]!);
        assert.ok(Math.abs(numeric - exact) <= 1e-2 * scale, `${name}, input ${which}: ${exact} is not ${numeric}`);
      });
    });
  }
});

test('memory is recycled, but not while a view or a reader may look at it', () => {
  const backend = useWhittleBackend();
  const a = random([64, 64], 1);
  const b = random([64, 64], 2);
  tf.matMul(a, b).dispose();
  const kept = backend.pool.kept;
  assert.ok(kept >= 64 * 64, 'the product went back to the pool');
  const second = tf.matMul(a, b);
  assert.is(backend.pool.kept, kept - 64 * 64, 'and was taken again');

  const view = tf.slice(second, [0, 0], [32, 64]);
  const before = [...view.dataSync()];
  second.dispose();
  tf.matMul(b, a);
  assert.equal([...view.dataSync()], before, 'a slice outlives what it was cut from');

  const third = tf.matMul(a, b);
  const values = third.dataSync();
  const copy = Float32Array.from(values);
  third.dispose();
  tf.matMul(b, a);
  assert.equal(Float32Array.from(values), copy, 'values that were read stay');

  const fourth = tf.matMul(a, b);
  const reshaped = tf.reshape(fourth, [4096]);
  fourth.dispose();
  tf.matMul(b, a);
  assert.equal(Float32Array.from(reshaped.dataSync()), copy, 'a reshaped tensor shares the values');
});

test('the pool gives back arrays of the same class of sizes and keeps to its limit', () => {
  const pool = new BufferPool(5000);
  const first = pool.take(2000);
  pool.give(first);
  assert.is(pool.take(1990).buffer, first.buffer);
  assert.is.not(pool.take(2000).buffer, first.buffer);
  pool.give(pool.take(4096));
  assert.ok(pool.kept <= 5000);
  pool.give(pool.take(4096));
  assert.ok(pool.kept <= 5000);
  pool.give(new Float32Array(10));
  assert.ok(pool.kept <= 5000);
});

test('an array of zeros is zero to the end of its memory, which a longer one may use next', () => {
  const pool = new BufferPool();
  pool.give(pool.take(4096).fill(7));
  const shorter = pool.takeZeros(4000);
  pool.giveZeros(shorter);
  const longer = pool.takeZeros(4096);
  assert.is(longer.buffer, shorter.buffer);
  assert.ok(longer.every((value) => value === 0));
});

test('an array of sparse rows is zero again for its next user', () => {
  useWhittleBackend();
  const backend = tf.backend() as unknown as WhittleBackend;
  const sparse = { rows: Int32Array.of(1, 300), columns: 8 };
  const values = backend.sparseFloats(4096, sparse);
  assert.ok(values.every((value) => value === 0));
  for (const row of sparse.rows) values.fill(row, row * 8, row * 8 + 8);
  const tensor = tf.engine().makeTensorFromTensorInfo(backend.tensorInfo([512, 8], values), backend);
  assert.equal(backend.rowsOf(tensor), sparse.rows);
  assert.is(backend.rowsOf(tf.add(tensor, 1)), undefined);
  tensor.dispose();
  const before = backend.pool.allocated;
  const next = backend.sparseFloats(4096, { rows: Int32Array.of(2), columns: 8 });
  assert.is(backend.pool.allocated, before);
  assert.is(next.buffer, values.buffer);
  assert.ok(next.every((value) => value === 0));
});

test.run();
