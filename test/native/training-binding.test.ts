/** The training functions of the addon: views, values against plain JavaScript, refusals, threads. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../bindings/load.js';
import { blockParameterNames, type BlockSpec, type EmbeddingSpec } from '../../bindings/native.js';
import { expectError } from '../harness.js';

let state = 12345;
/** Uniform in [-1, 1), reproducible. */
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
}

/** A view that begins within its buffer, as TensorFlow.js hands them out. */
function view(length: number, value: (index: number) => number = () => random()): Float32Array {
  const array = new Float32Array(length + 3).subarray(3);
  for (let i = 0; i < length; i++) array[i] = value(i);
  return array;
}

function near(actual: Float32Array | number[], expected: Float32Array | number[], tolerance = 1e-5): void {
  assert.is(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    assert.ok(difference <= tolerance * (1 + Math.abs(expected[i]!)), `[${i}] is ${actual[i]}, expected ${expected[i]}`);
  }
}

test('matmul with every transposition, batches and a bias', () => {
  const [m, n, k, batch] = [5, 7, 9, 3];
  for (const transposeA of [false, true])
    for (const transposeB of [false, true])
      for (const strideB of [undefined, 0]) {
        const a = view(batch * m * k);
        const b = view(batch * k * n);
        const bias = view(n);
        const c = view(batch * m * n, () => NaN);
        native.matmul(a, b, c, { m, n, k, batch, transposeA, transposeB, bias, ...(strideB === 0 && { strideB }) });
        const expected = c.map((_, at) => {
          const [p, i, j] = [Math.floor(at / (m * n)), Math.floor(at / n) % m, at % n];
          let sum = bias[j]!;
          for (let l = 0; l < k; l++) {
            const left = a[p * m * k + (transposeA ? l * m + i : i * k + l)]!;
            sum += left * b[(strideB === 0 ? 0 : p * k * n) + (transposeB ? j * k + l : l * n + j)]!;
          }
          return sum;
        });
        near(c, expected);
      }
});

test('matmul without products or without elements', () => {
  const c = view(6, () => NaN);
  native.matmul(new Float32Array(0), new Float32Array(0), c, { m: 2, n: 3, k: 0 });
  near(c, [0, 0, 0, 0, 0, 0]);
  native.matmul(new Float32Array(0), view(12), new Float32Array(0), { m: 0, n: 3, k: 4 });
});

test('layer norm, softmax and GELU agree with their gradients', () => {
  const [rows, cols] = [4, 6];
  const x = view(rows * cols);
  const gamma = view(cols);
  const beta = view(cols);
  const dy = view(rows * cols);
  const [y, mean, rstd, dx] = [view(x.length), view(rows), view(rows), view(x.length)];
  const [dgamma, dbeta] = [view(cols), view(cols)];
  native.layerNorm(x, gamma, beta, 1e-5, y, mean, rstd);
  native.layerNormBackward(dy, x, gamma, mean, rstd, dx, dgamma, dbeta);
  const normed = (input: Float32Array) => {
    const out = new Float32Array(input.length);
    native.layerNorm(input, gamma, beta, 1e-5, out, null, null);
    return out;
  };
  checkGradient(x, dy, normed, dx);

  native.softmax(x, cols, y);
  for (let r = 0; r < rows; r++) {
    const sum = y.subarray(r * cols, (r + 1) * cols).reduce((total, value) => total + value, 0);
    near([sum], [1]);
  }
  native.softmaxBackward(y, dy, cols, dx);
  const softmaxed = (input: Float32Array) => {
    const out = new Float32Array(input.length);
    native.softmax(input, cols, out);
    return out;
  };
  checkGradient(x, dy, softmaxed, dx);

  native.geluBackward(x, dy, dx);
  const activated = (input: Float32Array) => {
    const out = new Float32Array(input.length);
    native.gelu(input, out);
    return out;
  };
  checkGradient(x, dy, activated, dx);
});

/** dx against differences of sum(dy * f(x)); float32, so the step is large and the tolerance 1 %. */
function checkGradient(x: Float32Array, dy: Float32Array, f: (x: Float32Array) => Float32Array, dx: Float32Array) {
  const loss = (input: Float32Array) => f(input).reduce((sum, value, i) => sum + value * dy[i]!, 0);
  for (let i = 0; i < x.length; i++) {
    const shifted = (by: number) => loss(x.map((value, at) => (at === i ? value + by : value)));
    near([dx[i]!], [(shifted(0.01) - shifted(-0.01)) / 0.02], 1e-2);
  }
}

test('gathers rows and adds them up again', () => {
  const table = view(4 * 3);
  const ids = Int32Array.of(2, 0, 2);
  const y = view(9, () => NaN);
  native.gatherRows(table, 3, ids, y);
  near(y, [...table.subarray(6, 9), ...table.subarray(0, 3), ...table.subarray(6, 9)]);
  const dtable = view(12, () => NaN);
  native.scatterAddRows(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9), 3, ids, dtable);
  near(dtable, [4, 5, 6, 0, 0, 0, 8, 10, 12, 0, 0, 0]);
});

test('the loss of classes, with ignored rows', () => {
  const logits = Float32Array.of(0, 0, 1, 1, 5, 5);
  const dlogits = new Float32Array(6).fill(NaN);
  const { loss, counted } = native.softmaxCrossEntropy(logits, Int32Array.of(1, -100, 0), 2, dlogits);
  near([loss], [Math.log(2)]);
  assert.is(counted, 2);
  near(dlogits, [0.25, -0.25, 0, 0, -0.25, 0.25]);
});

test('AdamW with and without a mask, and the norm', () => {
  const tensor = (gradient: Float32Array) => ({
    parameter: Float32Array.of(1, 2, 3, 4),
    gradient,
    firstMoment: new Float32Array(4),
    secondMoment: new Float32Array(4),
    learningRate: 0.1,
    weightDecay: 0.5,
    step: 1,
  });
  const options = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, gradientScale: 1 };
  const gradient = Float32Array.of(0, 0, 3, -4);
  const dense = tensor(gradient);
  const masked = { ...tensor(gradient), mask: Uint8Array.of(1, 1, 0, 1) };
  native.adamw([dense, masked], options);
  // The first step moves by the learning rate against the gradient's sign, after the decay.
  near(dense.parameter, [0.95, 1.9, 2.75, 3.9]);
  near(masked.parameter, [0.95, 1.9, 0, 3.9]);
  near([native.gradientNorm([{ gradient }]), native.gradientNorm([{ gradient }, { gradient }])], [5, Math.sqrt(50)]);
});

const blockSpec: BlockSpec = {
  hidden: 16,
  heads: 2,
  intermediate: 24,
  normEpsilon: 1e-12,
  hiddenDropout: 0.1,
  attentionDropout: 0.1,
  seed: 2 ** 40 + 3,
  step: 7,
  layer: 1,
  precision: 'float32',
};

function blockArguments(tokens: number) {
  const sizes: Record<string, number> = { 'intermediate.bias': 24 };
  const parameters = blockParameterNames.map((name) =>
    view(
      sizes[name] ?? (/(intermediate|^output)\.weight/.test(name) ? 16 * 24 : /norm|bias/.test(name) ? 16 : 16 * 16),
    ),
  );
  return { x: view(tokens * 16), y: view(tokens * 16, () => NaN), dy: view(tokens * 16), parameters };
}

test('a block runs forward and backward on views, the same for any number of threads', () => {
  const { x, y, dy, parameters } = blockArguments(9);
  const offsets = Int32Array.of(0, 4, 4, 9);
  const results = [1, 3].map((threads) => {
    native.setThreads(threads);
    const saved = new Float32Array(native.blockSavedFloats(blockSpec, 9, 3));
    native.blockForward(blockSpec, x, offsets, parameters, y, saved);
    const dx = view(x.length, () => NaN);
    const gradients = parameters.map((parameter) => view(parameter.length, () => NaN));
    native.blockBackward(blockSpec, x, offsets, parameters, saved, dy, dx, gradients);
    return [Float32Array.from(y), dx, ...gradients];
  });
  native.setThreads(0);
  assert.equal(results[0], results[1]);
  for (const result of results[0]!) assert.ok(result.every(Number.isFinite));
  const other = new Float32Array(y.length);
  native.blockForward({ ...blockSpec, step: 8 }, x, offsets, parameters, other, null);
  assert.not.equal(other, results[0]![0], 'another step has another dropout mask');
});

test('an empty batch is fine', () => {
  const { parameters } = blockArguments(0);
  const none = new Float32Array(0);
  native.blockForward(blockSpec, none, Int32Array.of(0), parameters, none, none);
  native.blockBackward(
    blockSpec,
    none,
    Int32Array.of(0),
    parameters,
    none,
    none,
    none,
    parameters.map(() => null),
  );
});

test('shapes that do not fit are refused with the argument named', async () => {
  const { x, y, parameters } = blockArguments(9);
  const offsets = Int32Array.of(0, 9);
  const forward = (change: Partial<BlockSpec>, args: { offsets?: Int32Array; y?: Float32Array; x?: Float32Array }) => () =>
    native.blockForward({ ...blockSpec, ...change }, args.x ?? x, args.offsets ?? offsets, parameters, args.y ?? y, null);
  const refusals: [() => unknown, RegExp][] = [
    [forward({ heads: 3 }, {}), /heads to divide hidden = 16 but received 3/],
    [forward({ intermediate: 25 }, {}), /parameters\[10\]/],
    [forward({ hiddenDropout: 1 }, {}), /rate in \[0, 1\) for hiddenDropout/],
    [forward({ precision: 'int8' as never }, {}), /precision but received 'int8'/],
    [forward({}, { offsets: Int32Array.of(0, 10) }), /offsets to end at the 9 tokens given but they end at 10/],
    [forward({}, { offsets: Int32Array.of(0, 5, 4, 9) }), /never fall/],
    [forward({}, { offsets: Int32Array.of(-1, 9) }), /start at 0/],
    [forward({}, { y: new Float32Array(1) }), /for y/],
    [forward({}, { x: new Float32Array(17) }), /whole rows of 16/],
    [() => native.blockForward(blockSpec, x, offsets, parameters, y, new Float32Array(3)), /elements for saved but received 3/],
    [() => native.blockForward(blockSpec, x, offsets, parameters.slice(1), y, null), /Expected 16 or 17 parameters/],
    [
      () => native.blockForward(blockSpec, x, offsets, [...parameters, view(2 * 15)], y, null),
      /2 heads times an odd number of at least 17 distances for positionBias but received 30 elements/,
    ],
    [() => native.matmul(x, x, y, { m: 100, n: 1, k: 100 }), /elements for a/],
    [() => native.matmul(x, x, new Float32Array(2), { m: 1, n: 1, k: 2 }), /for c/],
    [() => native.softmaxCrossEntropy(x, Int32Array.of(0), 16, null), /labels/],
    [() => native.softmaxCrossEntropy(new Float32Array(4), Int32Array.of(0, 2), 2, null), /labels\[1\] is 2/],
    [() => native.gatherRows(x, 16, Int32Array.of(9), new Float32Array(16)), /ids\[0\] is 9/],
    [() => native.gelu(x, new Float32Array(1)), /for y/],
  ];
  for (const [action, message] of refusals) await expectError(action, 'BAD_OPTION', message);
});

test('the embedding gives gradients in the rows that occur, and refuses ids outside its tables', async () => {
  const spec: EmbeddingSpec = { hidden: 4, positionOffset: 0, normEpsilon: 1e-12, dropout: 0, seed: 1, step: 1 };
  const parameters = [view(5 * 4), view(3 * 4), null, view(4), view(4)];
  const [ids, types, offsets] = [Int32Array.of(1, 3, 1), new Int32Array(3), Int32Array.of(0, 2, 3)];
  const y = view(12, () => NaN);
  const saved = new Float32Array(native.embeddingSavedFloats(spec, 3));
  native.embeddingForward(spec, ids, types, offsets, parameters, y, saved);
  const gradients = [view(20, () => 0), view(12, () => 0), null, view(4), view(4)];
  native.embeddingBackward(spec, ids, types, offsets, parameters, saved, view(12), gradients);
  const touched = (gradient: Float32Array, row: number) => gradient.subarray(row * 4, row * 4 + 4).some((v) => v !== 0);
  assert.equal(
    [0, 1, 2, 3, 4].map((row) => touched(gradients[0]!, row)),
    [false, true, false, true, false],
  );
  await expectError(
    () => native.embeddingForward(spec, Int32Array.of(1, 5, 1), types, offsets, parameters, y, null),
    'BAD_OPTION',
    /inputIds\[1\] is 5/,
  );
  await expectError(
    () => native.embeddingForward(spec, Int32Array.of(1, 1, 1, 1), new Int32Array(4), Int32Array.of(0, 4), parameters, view(16), null),
    'BAD_OPTION',
    /at most 3 tokens but sequence 0 has 4/,
  );
});

test.run();
