import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parameterShapes } from '../../../lib/models/parameters.js';
import { checkOptions } from '../../../lib/options.js';
import { ImprovementWatch } from '../../../lib/training/early-stopping.js';
import { finetuneSchema } from '../../../lib/training/options.js';
import { scheduleFactor } from '../../../lib/training/schedule.js';
import {
  earlyStoppingSchema,
  formatRate,
  isDecayed,
  learningRateFactor,
  stageSchema,
} from '../../../lib/training/stages.js';
import { StageError, stageParameters } from '../../../lib/training/stage-parameters.js';
import { expectError } from '../../harness.js';
import { textHead, tinyDescription } from './tiny-model.js';

const names = [...parameterShapes(tinyDescription, textHead).keys()];
const model = { names, layers: tinyDescription.layers };
const parametersOf = (options: object) =>
  stageParameters(stageSchema.parse({ train: 'all', epochs: 1, learningRate: 1e-3, ...options }), 1, model);
const trained = (train: string | string[]) => [...parametersOf({ train }).waves[0]!];

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

test('patterns name parameters wherever they are', () => {
  assert.equal(
    trained('*.bias'),
    names.filter((name) => name.endsWith('.bias')),
  );
  assert.equal(
    trained('layers.*.attention.*'),
    names.filter((name) => /^layers\.\d+\.attention\./.test(name)),
  );
  assert.equal(trained('embeddings.word'), ['embeddings.word']);
  assert.is(trained(['head', '*.bias']).length, new Set([...trained('head'), ...trained('*.bias')]).size);
});

test('what names no parameter is an error that names stage, option and near names', async () => {
  const check = (options: object) => () => parametersOf(options);
  const error = await expectError(
    check({ train: ['head', 'layers.*.atention.*'] }),
    'BAD_OPTION',
    /^stage 2 \(head, layers\.\*\.atention\.\*\): train: "layers\.\*\.atention\.\*" names no parameter of the model; did you mean "layers\.\*\.attention\.\*"\?$/,
  );
  assert.instance(error, StageError);
  assert.equal((error as StageError).path, ['train', 1]);
  await expectError(check({ train: '*.biass' }), 'BAD_OPTION', /did you mean "\*\.bias"\?/);
  await expectError(
    check({ train: 'decoder.blocks.*' }),
    'BAD_OPTION',
    /names no parameter of the model, which has embeddings\.\*, layers\.0-1\.\*, pooler\.\*, classifier\.\*$/,
  );
  await expectError(
    check({ train: 'head', groups: [{ parameters: 'layers.1', learningRate: 1 }] }),
    'BAD_OPTION',
    /groups: "layers\.1" names no parameter that the stage trains/,
  );
  await expectError(
    check({ groups: [{ parameters: '*.bias', weightDecay: 0.1 }] }),
    'BAD_OPTION',
    /expected a parameter that weight decay applies to but found biases and LayerNorm alone/,
  );
});

test('groups change the rates of what they name, the first one counts', () => {
  const { rates } = parametersOf({
    layerDecay: 0.5,
    groups: [
      { parameters: ['head', '*.key.weight'], learningRate: 4e-3 },
      { parameters: 'layers.0', weightDecay: 0.3, learningRate: 5e-4 },
    ],
  });
  const close = (name: string, factor: number, decay: number) => {
    assert.ok(Math.abs(rates.get(name)!.learningRateFactor - factor) < 1e-12, name);
    assert.is(rates.get(name)!.weightDecay, decay, name);
  };
  close('classifier.weight', 4, 0.01);
  close('classifier.bias', 4, 0);
  close('layers.0.attention.key.weight', 2, 0.01);
  close('layers.0.attention.query.weight', 0.25, 0.3);
  close('layers.0.output.norm.weight', 0.25, 0);
  close('layers.1.output.weight', 1, 0.01);
  close('embeddings.word', 0.25, 0.01);
});

test('unfreezing goes from the top or the bottom, a layer at a time', () => {
  const depths = (options: object) =>
    parametersOf(options).waves.map((wave) => [
      ...new Set(
        [...wave].map((name) =>
          name
            .split('.')
            .slice(0, name.startsWith('l') ? 2 : 1)
            .join('.'),
        ),
      ),
    ]);
  const every = '1 epoch';
  assert.equal(depths({ unfreeze: { every } }), [
    ['pooler', 'classifier'],
    ['layers.1', 'pooler', 'classifier'],
    ['layers.0', 'layers.1', 'pooler', 'classifier'],
    ['embeddings', 'layers.0', 'layers.1', 'pooler', 'classifier'],
  ]);
  assert.equal(depths({ train: ['head', 'layers.0'], unfreeze: { every, from: 'bottom' } }), [
    ['layers.0'],
    ['pooler', 'classifier', 'layers.0'],
  ]);
});

test('intervals are written as words or as objects', async () => {
  const every = (value: unknown) =>
    stageSchema.parse({ train: 'all', steps: 9, learningRate: 1, evaluateEvery: value }).evaluateEvery;
  assert.equal(every('1 epoch'), { epochs: 1 });
  assert.equal(every('0.5 epochs'), { epochs: 0.5 });
  assert.equal(every('100 steps'), { steps: 100 });
  assert.equal(every({ steps: 3 }), { steps: 3 });
  const check = (value: unknown) => () =>
    checkOptions(
      finetuneSchema,
      { stages: [{ train: 'all', steps: 9, learningRate: 1, evaluateEvery: value }] },
      'finetune',
    );
  const wanted = /evaluateEvery: expected a number of epochs or steps, such as "0\.5 epochs" or "100 steps"/;
  for (const bad of ['often', '0 steps', '1.5 steps', '-1 epochs', '3'])
    await expectError(check(bad), 'BAD_OPTION', wanted);
  await expectError(check({ steps: 0 }), 'BAD_OPTION', /evaluateEvery/);
});

test('rates are written as people write them', () => {
  assert.equal([2e-5, 1e-3, 0.015, 1, 0, 0.00066666].map(formatRate), ['2e-5', '1e-3', '0.015', '1', '0', '6.667e-4']);
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
  await expectError(
    check({ train: 'heads' }),
    'BAD_OPTION',
    /expected head, embeddings, all, layers.N, layers.N-M or a pattern/,
  );
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
