import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parameterShapes } from '../../../lib/models/parameters.js';
import { checkOptions } from '../../../lib/options.js';
import { ImprovementWatch } from '../../../lib/training/early-stopping.js';
import { finetuneSchema } from '../../../lib/training/options.js';
import { scheduleFactor } from '../../../lib/training/schedule.js';
import {
  earlyStoppingSchema,
  isDecayed,
  learningRateFactor,
  stageSchema,
  trainedParameters,
} from '../../../lib/training/stages.js';
import { expectError } from '../../harness.js';
import { textHead, tinyDescription } from './tiny-model.js';

const names = [...parameterShapes(tinyDescription, textHead).keys()];
const trained = (train: string | string[]) => [...trainedParameters({ train }, names, tinyDescription)];

test('groups name the parameters of embeddings, layers and head', () => {
  assert.equal(trained('head'), ['pooler.weight', 'pooler.bias', 'classifier.weight', 'classifier.bias']);
  assert.equal(
    trained('embeddings'),
    names.filter((name) => name.startsWith('embeddings.')),
  );
  assert.equal(
    trained('layers.1'),
    names.filter((name) => name.startsWith('layers.1.')),
  );
  assert.is(trained('layers.0-1').length, 32);
  assert.equal(trained('all'), names);
  assert.is(trained(['head', 'layers.1']).length, 4 + 16);
});

test('layers that the model lacks are refused', async () => {
  await expectError(
    () => trained('layers.1-2'),
    'BAD_OPTION',
    /"layers.1-2" names a layer that the model lacks; it has 2/,
  );
  await expectError(() => trained('layers.1-0'), 'BAD_OPTION', /expected the lower layer .* first/);
});

test('bad stages are refused in one sentence', async () => {
  const good = { train: 'all', epochs: 1, learningRate: 1e-3 };
  const check = (stage: object) => () => checkOptions(finetuneSchema, { stages: [{ ...good, ...stage }] }, 'finetune');
  check({})();
  await expectError(
    check({ learningrate: 1 }),
    'BAD_OPTION',
    /unknown key "learningrate" in stages\[0\]; did you mean "learningRate"\?/,
  );
  await expectError(check({ learningRate: NaN }), 'BAD_OPTION', /stages\[0\]\.learningRate: expected a learning rate/);
  await expectError(
    check({ learningRate: -1e-3 }),
    'BAD_OPTION',
    /stages\[0\]\.learningRate: expected a learning rate of at least 0/,
  );
  await expectError(check({ learningRate: 0 }), 'BAD_OPTION', /expected a learning rate above 0/);
  await expectError(check({ learningRate: 2 }), 'BAD_OPTION', /expected a learning rate of at most 1/);
  await expectError(check({ weightDecay: -0.1 }), 'BAD_OPTION', /stages\[0\]\.weightDecay/);
  await expectError(check({ epochs: 0 }), 'BAD_OPTION', /expected more than 0 epochs/);
  await expectError(check({ steps: 5 }), 'BAD_OPTION', /expected either epochs or steps/);
  await expectError(check({ epochs: undefined }), 'BAD_OPTION', /expected either epochs or steps/);
  await expectError(check({ train: 'heads' }), 'BAD_OPTION', /expected head, embeddings, all, layers.N or layers.N-M/);
  await expectError(check({ train: [] }), 'BAD_OPTION', /stages\[0\]\.train/);
  await expectError(() => checkOptions(finetuneSchema, { stages: [] }, 'finetune'), 'BAD_OPTION', /at least one stage/);
});

test('linear schedule with warm-up is that of Transformers', () => {
  // transformers.get_linear_schedule_with_warmup(optimizer, 3, 10) with a rate of 1.
  const expected = [0, 1 / 3, 2 / 3, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7];
  expected.forEach((factor, step) => assert.ok(Math.abs(scheduleFactor('linear', step, 10, 3) - factor) < 1e-12));
  assert.is(scheduleFactor('linear', 0, 1, 0), 1);
});

test('layer decay lowers the rate towards the embeddings', () => {
  const factor = (name: string) => learningRateFactor(name, 6, 0.5);
  assert.is(factor('classifier.weight'), 1);
  assert.is(factor('layers.5.output.weight'), 1);
  assert.is(factor('layers.4.output.weight'), 0.5);
  assert.is(factor('layers.0.output.weight'), 0.5 ** 5);
  assert.is(factor('embeddings.word'), 0.5 ** 6);
});

test('biases and LayerNorm are not decayed', () => {
  assert.equal(
    names.filter((name) => !isDecayed(name)),
    names.filter((name) => /bias$|norm\.weight$/.test(name)),
  );
});

test('early stopping waits for its patience and asks for the minimum change', async () => {
  const watch = new ImprovementWatch(earlyStoppingSchema.parse({ metric: 'f1', patience: 2, minChange: 0.01 }));
  const seen = [0.5, 0.505, 0.52, 0.52, 0.51].map((f1) => watch.observe({ f1 }));
  assert.equal(
    seen.map(({ improved }) => improved),
    [true, false, true, false, false],
  );
  assert.equal(
    seen.map(({ stop }) => stop),
    [false, false, false, false, true],
  );
  const loss = new ImprovementWatch(earlyStoppingSchema.parse({ metric: 'loss', patience: 1 }));
  assert.equal(
    [2, 1, 1.5].map((value) => loss.observe({ loss: value }).improved),
    [true, true, false],
  );
  await expectError(() => watch.observe({ F1: 1, loss: 2 }), 'BAD_OPTION', /no dev metric "f1"; did you mean "F1"\?/);
});

test('stage defaults', () => {
  const stage = stageSchema.parse({ train: 'head', epochs: 1, learningRate: 1e-3 });
  assert.is(stage.warmupRatio, 0.1);
  assert.is(stage.weightDecay, 0.01);
  assert.is(stage.gradientClip, 1);
  assert.is(stage.schedule, 'linear');
});

test.run();
