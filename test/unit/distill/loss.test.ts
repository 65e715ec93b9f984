/** The distillation objective against PyTorch's kl_div and cross_entropy. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { useWhittleBackend } from '../../../lib/backend/register.js';
import { raggedBatch, type Example } from '../../../lib/data/batch.js';
import type { Task } from '../../../lib/data/dataset.js';
import { distillationLoss } from '../../../lib/distill/loss.js';
import { mixTeachers } from '../../../lib/distill/soft-labels.js';
import { root } from '../../harness.js';

interface Golden {
  task: Task;
  /** One array a row: its class, or a label for each token. */
  labels: number[][];
  temperature: number;
  alpha: number;
  weights: number[];
  logits: number[];
  teachers: number[][];
  loss: number;
  gradient: number[];
}

const classes = 4;
const golden = JSON.parse(readFileSync(join(root, 'test', 'fixtures', 'distillation.json'), 'utf8')) as Golden[];
const tolerance = 2e-6;

/** A row of a text has two tokens; a row of words one a label. */
function exampleOf(task: Task, labels: number[]): Example {
  const tokens = task === 'text-classification' ? 2 : labels.length;
  const ids = { inputIds: new Int32Array(tokens), tokenTypeIds: new Int32Array(tokens) };
  return task === 'text-classification'
    ? { ...ids, label: labels[0]! }
    : { ...ids, tokenLabels: Int32Array.from(labels) };
}

/** Each row's logits at its labelled positions, from all positions end to end. */
function teacherRows(flat: number[], labels: number[][]): Float32Array[] {
  let position = 0;
  return labels.map((row) =>
    Float32Array.from(
      row.flatMap((label) => {
        const at = position++;
        return label === -100 ? [] : flat.slice(at * classes, (at + 1) * classes);
      }),
    ),
  );
}

function evaluate(one: Golden, order: number[]): { loss: number; gradient: Float32Array } {
  const { task, labels, temperature, alpha, weights } = one;
  const teachers = one.teachers.map((flat, index) => ({ weight: weights[index]!, rows: teacherRows(flat, labels) }));
  const objective = distillationLoss(mixTeachers(teachers, classes, temperature), { alpha, task });
  const batch = {
    ...raggedBatch(order.map((row) => exampleOf(task, labels[row]!))),
    indices: Int32Array.from(order),
  };
  const starts = labels.map((_, row) => labels.slice(0, row).reduce((sum, { length }) => sum + length, 0));
  const positions = order.flatMap((row) => labels[row]!.map((_, offset) => starts[row]! + offset));
  const shuffled = positions.flatMap((at) => one.logits.slice(at * classes, (at + 1) * classes));
  const { value, grad } = tf.valueAndGrad((x) => objective(x as tf.Tensor2D, batch))(
    tf.tensor2d(shuffled, [positions.length, classes]),
  );
  const shuffledGradient = grad.dataSync();
  const gradient = new Float32Array(one.gradient.length);
  positions.forEach((at, index) =>
    gradient.set(shuffledGradient.subarray(index * classes, (index + 1) * classes), at * classes),
  );
  return { loss: value.dataSync()[0]!, gradient };
}

const backends = { whittle: () => useWhittleBackend(), cpu: () => tf.setBackend('cpu') };
for (const [backend, use] of Object.entries(backends)) {
  test(`losses and gradients are PyTorch's, on the backend ${backend}`, async () => {
    await use();
    for (const one of golden) {
      const rows = one.labels.map((_, row) => row);
      // The objective looks teachers up by row, so the order of the rows in the batch must not matter.
      for (const order of [rows, rows.toReversed()]) {
        const { loss, gradient } = evaluate(one, order);
        const name = `${one.task}, T ${one.temperature}, alpha ${one.alpha}, ${one.weights.length} teachers`;
        const bound = tolerance * Math.max(1, one.temperature ** 2) * (1 + Math.abs(one.loss));
        assert.ok(Math.abs(loss - one.loss) <= bound, `${name}: loss ${loss} but expected ${one.loss}`);
        gradient.forEach((value, index) => {
          const expected = one.gradient[index]!;
          assert.ok(Math.abs(value - expected) <= bound, `${name}: gradient ${index} is ${value}, not ${expected}`);
        });
      }
    }
  });
}

test('a position that a teacher did not see has hard labels alone', async () => {
  useWhittleBackend();
  const rows = [Float32Array.of(1, 2, 3, 4)];
  const objective = distillationLoss(mixTeachers([{ weight: 1, rows }], classes, 1), {
    alpha: 0,
    task: 'token-classification',
  });
  const batch = {
    ...raggedBatch([exampleOf('token-classification', [0, 1])]),
    indices: Int32Array.of(0),
  };
  const loss = (second: number[]) =>
    objective(tf.tensor2d([1, 2, 3, 4, ...second], [2, classes]), batch).dataSync()[0]!;
  assert.ok(Math.abs(loss([0, 0, 0, 0])) < 1e-6);
  assert.is(loss([0, 0, 0, 0]), loss([9, 0, 0, 0]));
});

test('weights count in proportion, and rows are cut to what all teachers saw', () => {
  const a = [Float32Array.of(0, Math.log(3), 5, 5)];
  const b = [Float32Array.of(0, 0)];
  const mixed = mixTeachers(
    [
      { weight: 2, rows: a },
      { weight: 6, rows: b },
    ],
    2,
    1,
  );
  assert.is(mixed.probabilities[0]!.length, 2);
  assert.ok(Math.abs(mixed.probabilities[0]![0]! - (0.25 * 0.25 + 0.75 * 0.5)) < 1e-7);
  const negative = 0.25 * (0.25 * Math.log(0.25) + 0.75 * Math.log(0.75)) + 0.75 * Math.log(0.5);
  assert.ok(Math.abs(mixed.negativeEntropies[0]![0]! - negative) < 1e-7);
});

test.run();
