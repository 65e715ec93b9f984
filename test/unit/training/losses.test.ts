/** The losses of stages against PyTorch's values, their gradients against finite differences. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { useWhittleBackend } from '../../../lib/backend/register.js';
import { raggedBatch, type Example } from '../../../lib/data/batch.js';
import { classLoss } from '../../../lib/training/losses/class-loss.js';
import { labelLoss, passDifference } from '../../../lib/training/losses/label-loss.js';
import { classWeightsOf, lossSchema, positiveWeightsOf } from '../../../lib/training/losses/options.js';
import { dropoutDivergence } from '../../../lib/training/losses/r-drop.js';
import { hardLabels, objectiveFor, type TrainingBatch } from '../../../lib/training/objective.js';
import { generator, normalValues } from '../../../lib/training/random.js';
import { expectError, root } from '../../harness.js';
import { textHead, tokenHead } from './tiny-model.js';

interface Golden {
  classes: number;
  logits: number[];
  labels: number[];
  classWeights: number[];
  cases: {
    options: { labelSmoothing?: number; weighted?: boolean; focalGamma?: number; rDrop?: number };
    loss: number;
    gradient: number[];
  }[];
  targets: number[];
  labelCases: (Golden['cases'][number] & { task: 'multi-label-classification' | 'regression' })[];
}

const golden = JSON.parse(readFileSync(join(root, 'test/fixtures/stages/losses.json'), 'utf8')) as Golden;
const labels = Array.from({ length: golden.classes }, (_, id) => `class ${id}`);

const close = (actual: number, expected: number, tolerance: number, what: string) =>
  assert.ok(
    Math.abs(actual - expected) <= tolerance * Math.max(1, Math.abs(expected)),
    `${what}: ${actual}, not ${expected}`,
  );

for (const backend of ['whittle', 'cpu'])
  for (const { options, loss, gradient } of golden.cases)
    test(`${backend}: ${JSON.stringify(options)} is what PyTorch computes`, () => {
      useWhittleBackend();
      if (backend === 'cpu') tf.setBackend('cpu');
      const { weighted, ...rest } = options;
      const head = { task: 'token-classification' as const, labels };
      const objective = objectiveFor(
        lossSchema.parse({ ...rest, ...(weighted && { classWeights: golden.classWeights }) }),
        head,
        [],
      );
      const batch = { labels: Int32Array.from(golden.labels) } as TrainingBatch;
      const logits = tf.tensor2d(golden.logits, [golden.labels.length, golden.classes]);
      const tensors = tf.memory().numTensors;
      const { value, grad } = tf.valueAndGrad((x) => objective(x as tf.Tensor2D, batch))(logits);
      close(value.dataSync()[0]!, loss, 1e-6, 'loss');
      grad.dataSync().forEach((one, at) => close(one, gradient[at]!, 1e-6, `gradient[${at}]`));
      tf.dispose([value, grad]);
      assert.is(tf.memory().numTensors, tensors);
      logits.dispose();
    });

for (const { task, options, loss, gradient } of golden.labelCases)
  test(`${task}: ${JSON.stringify(options)} is what PyTorch computes`, () => {
    useWhittleBackend();
    const { weighted, ...rest } = options;
    const objective = objectiveFor(
      lossSchema.parse({ ...rest, ...(weighted && { classWeights: golden.classWeights }) }),
      { task, labels },
      [],
    );
    const batch = { labels: new Int32Array(), targets: Float32Array.from(golden.targets) } as unknown as TrainingBatch;
    const logits = tf.tensor2d(golden.logits, [golden.targets.length / golden.classes, golden.classes]);
    const { value, grad } = tf.valueAndGrad((x) => objective(x as tf.Tensor2D, batch))(logits);
    close(value.dataSync()[0]!, loss, 1e-6, 'loss');
    grad.dataSync().forEach((one, at) => close(one, gradient[at]!, 1e-6, `gradient[${at}]`));
    assert.is(objective.copies ?? 1, options.rDrop ? 2 : 1);
    tf.dispose([value, grad, logits]);
  });

test('gradients are those of finite differences, sure and wrong rows included', () => {
  const random = generator(23);
  const [rows, classes] = [6, 4];
  const logits = normalValues(rows * classes, 2, random);
  logits[0] = 30; // p is 1 within rounding
  logits[5] = -30;
  const targets = Int32Array.of(0, 1, 2, -100, 3, 0);
  const weights = Float64Array.of(1, 0, 2);
  const binary = Float32Array.from({ length: rows * classes }, (_, at) => at % 2);
  const losses = {
    focal: (x: Float32Array) => classLoss(x, targets, classes, { focalGamma: 0.5, labelSmoothing: 0.2 }),
    weighted: (x: Float32Array) => classLoss(x, targets, classes, { classWeights: Float32Array.of(1, 2, 3, 4) }),
    divergence: (x: Float32Array) => dropoutDivergence(x, weights, classes),
    labels: (x: Float32Array) => labelLoss(x, binary, classes, { focalGamma: 1.5, labelSmoothing: 0.1 }),
    labelsDifference: (x: Float32Array) => passDifference(x, 'labels'),
    numbersDifference: (x: Float32Array) => passDifference(x, 'numbers'),
  };
  for (const [name, loss] of Object.entries(losses)) {
    const { gradient } = loss(logits);
    logits.forEach((value, at) => {
      const step = 2 ** -10;
      const shifted = (by: number) => {
        const copy = logits.slice();
        copy[at] = value + by;
        return loss(copy).loss;
      };
      close(gradient[at]!, (shifted(step) - shifted(-step)) / (2 * step), 1e-4, `${name}[${at}]`);
    });
  }
});

test('no option leaves the plain cross-entropy, and what suits no task is refused', async () => {
  assert.is(objectiveFor(lossSchema.parse({}), textHead, []), hardLabels);
  const regression = { task: 'regression' as const, labels: ['score'] };
  await expectError(
    () => objectiveFor(lossSchema.parse({ labelSmoothing: 0.1 }), regression, []),
    'BAD_OPTION',
    /^loss: expected no labelSmoothing, which is for labels, in a regression$/,
  );
  const embedding = { task: 'embedding' as const, labels: [] };
  await expectError(
    () => objectiveFor(lossSchema.parse({ rDrop: 1 }), embedding, []),
    'BAD_OPTION',
    /not for embeddings/,
  );
});

test('class weights: balanced as scikit-learn, by list, by label', async () => {
  // sklearn.utils.class_weight.compute_class_weight('balanced', classes=[0, 2], y=[0, 0, 0, 2])
  const balanced = [...classWeightsOf('balanced', ['a', 'b', 'c'], [3, 0, 1])!];
  [4 / 6, 1, 2].forEach((weight, at) => close(balanced[at]!, weight, 1e-6, 'balanced'));
  assert.equal([...classWeightsOf({ c: 5 }, ['a', 'b', 'c'], [])!], [1, 1, 5]);
  const positive = [...positiveWeightsOf('balanced', ['a', 'b', 'c'], [30, 10, 0], 40)!];
  [1 / 3, 3, 1].forEach((weight, at) => close(positive[at]!, weight, 1e-6, 'positive'));
  const wanted = (weights: number[] | Record<string, number>) => () => classWeightsOf(weights, ['art', 'bar'], []);
  await expectError(wanted([1]), 'BAD_OPTION', /a weight for each of the 2 labels but found 1/);
  await expectError(wanted({ bat: 1 }), 'BAD_OPTION', /one of the 2 labels but found "bat"; did you mean "bar"\?/);
  await expectError(wanted([0, 0]), 'BAD_OPTION', /expected a weight above 0/);
  const examples = (ids: number[]) =>
    ids.map((label): Example => ({ inputIds: new Int32Array(2), tokenTypeIds: new Int32Array(2), label }));
  const objective = objectiveFor(lossSchema.parse({ classWeights: 'balanced' }), textHead, examples([0, 0, 1, 2]));
  const batch = { ...raggedBatch(examples([0, 1])), indices: Int32Array.of(0, 1) };
  close(objective.weightOf!(batch), 4 / 6 + 4 / 3, 1e-6, 'weight');
  const tokens: Example[] = [{ ...examples([0])[0]!, tokenLabels: Int32Array.of(-100, 2) }];
  assert.ok(objectiveFor(lossSchema.parse({ classWeights: 'balanced' }), tokenHead, tokens).weightOf);
});

test.run();
