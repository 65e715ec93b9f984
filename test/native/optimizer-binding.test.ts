/** The optimizers of the addon: values on views, masks, refusals, threads. What PyTorch gives is in unit/training/optimizers. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../bindings/load.js';
import { expectError } from '../harness.js';

/** A view that begins within its buffer. */
function view(...values: number[]): Float32Array {
  return Float32Array.of(7, 7, 7, ...values).subarray(3);
}

function near(actual: Float32Array, expected: number[], tolerance = 1e-6): void {
  assert.is(actual.length, expected.length);
  expected.forEach((value, at) => {
    assert.ok(Math.abs(actual[at]! - value) <= tolerance, `[${at}] is ${actual[at]}, expected ${value}`);
  });
}

const tensor = (gradient = view(0, 2, 4, -4)) => ({
  ...{ parameter: view(1, 2, 3, 4), gradient, learningRate: 0.1, weightDecay: 0.5 },
  mask: Uint8Array.of(1, 1, 0, 1),
});

test('SGD without momentum, with it, and looking ahead', () => {
  const options = { momentum: 0, nesterov: false, gradientScale: 0.5 };
  const plain = tensor();
  native.sgd([plain], options);
  near(plain.parameter, [0.95, 1.8, 0, 4]);
  const heavy = { ...tensor(), velocity: view(1, 1, 1, 1) };
  native.sgd([heavy], { ...options, momentum: 0.5 });
  near(heavy.velocity, [1, 2.5, 4, 0.5]);
  near(heavy.parameter, [0.9, 1.75, 0, 3.95]);
  const ahead = { ...tensor(), velocity: view(1, 1, 1, 1) };
  native.sgd([ahead], { ...options, momentum: 0.5, nesterov: true });
  near(ahead.parameter, [1 - 0.1 * (0.5 + 0.5), 2 - 0.1 * (2 + 1.25), 0, 4 - 0.1 * 0.25]);
});

test('Lion moves by the rate in the direction of the sign', () => {
  const lion = { ...tensor(), momentum: view(0, 0, 0, 20) };
  native.lion([lion], { beta1: 0.9, beta2: 0.5, gradientScale: 1 });
  near(lion.parameter, [0.95, 1.8, 0, 3.7]);
  near(lion.momentum, [0, 1, 2, 8]);
});

test('Adafactor by rows and columns, and element by element', () => {
  const options = { beta2Decay: -0.8, clipThreshold: 1, epsilon: 1e-3, gradientScale: 1 };
  // At the first step the second moment is that of the gradient: of a product of rows and columns, exactly.
  const matrix = { ...tensor(view(1, 2, 3, 6)), step: 1, rowMeans: view(0, 0), columnMeans: view(0, 0) };
  const list = { ...tensor(view(1, -2, 3, 6)), step: 1, variance: view(0, 0, 0, 0) };
  native.adafactor([matrix, list], options);
  near(matrix.rowMeans, [2.5, 22.5]);
  near(matrix.columnMeans, [5, 20]);
  near(list.variance, [1, 4, 9, 36]);
  const rate = 0.1 * Math.sqrt(30 / 4);
  near(matrix.parameter, [0.95 - rate, 1.9 - rate, 0, 3.8 - rate]);
  near(list.parameter, [0.95 - rate, 1.9 + rate, 0, 3.8 - rate]);
});

test('moving averages, and clipping of an array that is there twice', () => {
  const average = view(1, 2);
  native.movingAverage([{ average, values: view(3, 0) }], 0.25);
  near(average, [1.5, 1.5]);
  const gradient = view(-3, -0.5, 0.25, 3);
  native.clipByValue([{ gradient }, { gradient }], 0.5);
  near(gradient, [-0.5, -0.5, 0.25, 0.5], 0);
});

test('nothing to update', () => {
  const none = new Float32Array(0);
  const empty = { parameter: none, gradient: none, learningRate: 1, weightDecay: 0 };
  native.sgd([], { momentum: 0, nesterov: false, gradientScale: 1 });
  native.lion([{ ...empty, momentum: none }], { beta1: 0.9, beta2: 0.9, gradientScale: 1 });
  const columnMeans = view(1, 2);
  const options = { beta2Decay: -0.8, clipThreshold: 1, epsilon: 1e-3, gradientScale: 1 };
  native.adafactor([{ ...empty, step: 1, rowMeans: none, columnMeans }], options);
  near(columnMeans, [1, 2]);
  native.adafactor([{ ...empty, step: 1, variance: none }], options);
});

test('the same for any number of threads', () => {
  const values = (seed: number) => Float32Array.from({ length: 300 * 211 }, (_, at) => Math.sin(seed + at * at));
  const results = [1, 2, 3].map((threads) => {
    native.setThreads(threads);
    const [parameter, gradient, state] = [values(1), values(2), values(3)];
    const update = { parameter, gradient, learningRate: 0.1, weightDecay: 0.1 };
    const [rowMeans, columnMeans] = [new Float32Array(300), new Float32Array(211)];
    native.sgd([{ ...update, velocity: state }], { momentum: 0.9, nesterov: true, gradientScale: 0.3 });
    native.lion([{ ...update, momentum: state }], { beta1: 0.9, beta2: 0.99, gradientScale: 0.3 });
    native.adafactor([{ ...update, step: 1, rowMeans, columnMeans }], {
      ...{ beta2Decay: -0.8, clipThreshold: 1, epsilon: 1e-3, gradientScale: 0.3 },
    });
    return [parameter, state, rowMeans, columnMeans];
  });
  native.setThreads(0);
  for (const result of results) assert.equal(result, results[0]);
});

test('arrays that do not fit are refused with their place and name', async () => {
  const sgd = { momentum: 0.9, nesterov: false, gradientScale: 1 };
  const velocity = view(0, 0, 0, 0);
  const adafactor = { beta2Decay: -0.8, clipThreshold: 1, epsilon: 1e-3, gradientScale: 1 };
  const two = view(0, 0);
  const refusals: [() => unknown, RegExp][] = [
    [
      () => native.sgd([{ ...tensor(), velocity }, { ...tensor(), velocity: two }], sgd),
      /^tensors\[1\]: Expected 4 elements for velocity but received 2$/,
    ],
    [() => native.sgd([tensor()], sgd), /tensors\[0\]: Expected a Float32Array for velocity but received undefined/],
    [() => native.sgd([{ ...tensor(), parameter: two, velocity }], sgd), /4 elements for parameter but received 2/],
    [() => native.sgd([{ ...tensor(), mask: Uint8Array.of(1), velocity }], sgd), /4 elements for mask but received 1/],
    [() => native.sgd([3 as never], sgd), /tensors\[0\]: Expected an object for the entry but received a number/],
    [() => native.lion([{ ...tensor(), momentum: two }], { beta1: 0, beta2: 0, gradientScale: 1 }), /for momentum/],
    [
      () => native.adafactor([{ ...tensor(), step: 1, rowMeans: two, columnMeans: view(0, 0, 0) }], adafactor),
      /rowMeans and columnMeans of a matrix of 4 elements but received 2 rows and 3 columns/,
    ],
    [() => native.adafactor([{ ...tensor(), step: 0, variance: velocity }], adafactor), /whole number from 1 .* for step/],
    [() => native.adafactor([{ ...tensor(), step: 1, variance: two }], adafactor), /4 elements for variance/],
    [() => native.movingAverage([{ average: two, values: velocity }], 0.5), /tensors\[0\]: Expected 2 elements for values/],
    [() => native.clipByValue([{ gradient: two }], -1), /Expected a limit of at least 0 but received -1/],
    [() => native.clipByValue([{ gradient: two }], NaN), /Expected a limit of at least 0/],
  ];
  for (const [action, message] of refusals) await expectError(action, 'BAD_OPTION', message);
});

test.run();
