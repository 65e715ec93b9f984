/** Gradient accumulation and clipping, and the options of a stage's loss in the loop. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { useWhittleBackend } from '../../../lib/backend/register.js';
import type { TaskHead } from '../../../lib/models/description.js';
import type { Parameters } from '../../../lib/models/parameters.js';
import { TrainableModel } from '../../../lib/training/model.js';
import { stageSchema, type StageOptions } from '../../../lib/training/stages.js';
import { trainStages, type TrainOptions } from '../../../lib/training/train.js';
import { textHead, tinyDescription, tinyExamples, tinyParameters, tokenHead } from './tiny-model.js';

const withoutDropout = {
  ...tinyDescription,
  ...{ hiddenDropout: 0, attentionDropout: 0, headDropout: { sequence: 0, token: 0 } },
};

async function trained(head: TaskHead, stage: StageOptions, options: Partial<TrainOptions> = {}) {
  useWhittleBackend();
  const model = new TrainableModel({
    ...{ description: withoutDropout, head, parameters: tinyParameters(head, 1), seed: 1 },
  });
  const result = await trainStages(model, {
    stages: [stageSchema.parse(stage)],
    trainExamples: tinyExamples(head, 44, 5),
    devExamples: [],
    ...{ batchSize: 16, seed: 3 },
    ...options,
  });
  const parameters = model.toParameters();
  model.dispose();
  return { parameters, record: result.stages[0]! };
}

/** Keys' biases have no gradient but rounding errors, which Adam's steps make as large as any. */
function largestDifference(actual: Parameters, expected: Parameters): number {
  let largest = 0;
  for (const [name, { data }] of expected)
    if (!name.endsWith('key.bias'))
      data.forEach((value, at) => (largest = Math.max(largest, Math.abs(value - actual.get(name)!.data[at]!))));
  return largest;
}

for (const head of [textHead, tokenHead])
  for (const loss of [undefined, { classWeights: [1, 5, 0.2], labelSmoothing: 0.1, focalGamma: 1 }])
    test(`${head.task}, ${loss ? 'weighted' : 'plain'} loss: accumulated batches are one large batch`, async () => {
      // Sequences differ in length and labels in weight, so that a mean of means would be another step.
      const stage = { train: 'all', epochs: 2, learningRate: 1e-3, warmupRatio: 0, ...(loss && { loss }) };
      const whole = await trained(head, { ...stage, batchSize: 16 });
      const parts = await trained(head, { ...stage, batchSize: 4, gradientAccumulation: 4 });
      assert.is(parts.record.steps, whole.record.steps);
      assert.is(parts.record.tokens, whole.record.tokens);
      parts.record.curve.forEach(({ loss: one }, at) => assert.ok(Math.abs(one - whole.record.curve[at]!.loss) < 1e-5));
      assert.ok(largestDifference(parts.parameters, whole.parameters) < 1e-5);
    });

test('R-Drop: both copies of a row count, and without dropout they say the same', async () => {
  const stage = { train: 'all', epochs: 1, learningRate: 1e-3, warmupRatio: 0 };
  const once = await trained(textHead, stage);
  const twice = await trained(textHead, { ...stage, loss: { rDrop: 2 } });
  assert.is(twice.record.tokens, 2 * once.record.tokens);
  assert.ok(largestDifference(twice.parameters, once.parameters) < 1e-5);
  const dropped = await trained(textHead, { ...stage, dropout: 0.3, loss: { rDrop: 2 } });
  assert.ok(largestDifference(dropped.parameters, once.parameters) > 1e-4);
  // The head alone, over kept outputs of the layers below it.
  const head = await trained(textHead, { ...stage, train: 'head', epochs: 2, dropout: 0.3, loss: { rDrop: 2 } });
  assert.ok(head.record.curve.every(({ loss }) => Number.isFinite(loss)));
});

test('clipping by norm and by value', async () => {
  const stage = { train: 'all', steps: 2, learningRate: 1e-3, warmupRatio: 0 };
  const plain = await trained(textHead, { ...stage, gradientClip: 1 });
  const named = await trained(textHead, { ...stage, gradientClip: { norm: 1 } });
  assert.is(largestDifference(plain.parameters, named.parameters), 0);
  const wide = await trained(textHead, { ...stage, gradientClip: { value: 1e6 } });
  const off = await trained(textHead, { ...stage, gradientClip: 0 });
  assert.is(largestDifference(wide.parameters, off.parameters), 0);
  const narrow = await trained(textHead, { ...stage, gradientClip: { value: 1e-3 } });
  assert.ok(largestDifference(narrow.parameters, off.parameters) > 1e-5);
});

test.run();
