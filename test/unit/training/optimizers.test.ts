/** Optimizers and schedules against PyTorch's and Transformers' values over several steps. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { useWhittleBackend } from '../../../lib/backend/register.js';
import { checkOptions } from '../../../lib/options.js';
import { TrainableModel } from '../../../lib/training/model.js';
import { createOptimizer } from '../../../lib/training/optimizers/optimizer.js';
import { optimizerOptions, optimizerSchema, type OptimizerChoice } from '../../../lib/training/optimizers/options.js';
import { finetuneSchema } from '../../../lib/training/options.js';
import { scheduleFactor, scheduleSchema, type Schedule } from '../../../lib/training/schedule.js';
import { stageSchema } from '../../../lib/training/stages.js';
import { trainStages } from '../../../lib/training/train.js';
import { expectError, root } from '../../harness.js';
import { textHead, tinyDescription, tinyExamples, tinyParameters } from './tiny-model.js';

const read = (name: string): unknown =>
  JSON.parse(readFileSync(join(root, 'test/fixtures/stages', `${name}.json`), 'utf8'));

type Values = Record<'weight' | 'bias', number[]>;
const golden = read('optimizers') as {
  shapes: Values;
  start: Values;
  gradients: Values[];
  learningRates: number[];
  cases: { optimizer: OptimizerChoice; weightDecay: number; parameters: Values[] }[];
};
const names = ['weight', 'bias'] as const;

/** As much of a model as an optimizer sees. */
function parametersOf(start: Values): TrainableModel {
  const variables = names.map(
    (name) => [name, tf.variable(tf.tensor(start[name], golden.shapes[name]), true)] as const,
  );
  return { parameters: new Map(variables) } as unknown as TrainableModel;
}

for (const backend of ['whittle', 'cpu'])
  for (const { optimizer: choice, weightDecay, parameters } of golden.cases)
    test(`${backend}: ${JSON.stringify(choice)}, weight decay ${weightDecay}, is PyTorch's`, () => {
      useWhittleBackend();
      if (backend === 'cpu') tf.setBackend('cpu');
      const model = parametersOf(golden.start);
      const slots = names.map((name) => ({ name, learningRateFactor: 1, weightDecay, mask: undefined }));
      const options = optimizerOptions(optimizerSchema.parse(choice));
      let optimizer = createOptimizer(model, slots, options, {});
      parameters.forEach((expected, step) => {
        const gradients: tf.NamedTensorMap = {};
        for (const name of names)
          if (!(name === 'bias' && step === 1))
            gradients[model.parameters.get(name)!.name] = tf.tensor(golden.gradients[step]![name], golden.shapes[name]);
        const norm = optimizer.update(gradients, golden.learningRates[step]!);
        const squares = Object.values(gradients).map((gradient) => tf.sum(tf.square(gradient)).dataSync()[0]!);
        assert.ok(Math.abs(norm - Math.sqrt(squares.reduce((a, b) => a + b))) < 1e-5);
        for (const name of names)
          model.parameters
            .get(name)!
            .dataSync()
            .forEach((value, at) => {
              const wanted = expected[name][at]!;
              assert.ok(Math.abs(value - wanted) < 2e-6, `step ${step + 1}, ${name}[${at}]: ${value}, not ${wanted}`);
            });
        if (step === 2) {
          const { updates, arrays } = optimizer.state();
          const state = { updates, arrays: new Map([...arrays].map(([name, values]) => [name, values.slice()])) };
          optimizer.dispose();
          optimizer = createOptimizer(model, slots, options, {}, state);
        }
      });
      optimizer.dispose();
    });

for (const optimizer of ['adam', 'sgd', 'adafactor', 'lion', { kind: 'sgd', nesterov: true }] as const)
  test(`${JSON.stringify(optimizer)} learns, the same on both backends, with its masks held`, async () => {
    const description = {
      ...tinyDescription,
      hiddenDropout: 0,
      attentionDropout: 0,
      headDropout: { sequence: 0, token: 0 },
    };
    const learningRate = { adam: 1e-3, sgd: 2e-2, adafactor: 1e-2, lion: 1e-4 };
    const kind = typeof optimizer === 'string' ? optimizer : optimizer.kind;
    const mask = Uint8Array.from({ length: 48 * 32 }, (_, at) => at % 2);
    const results: number[][] = [];
    for (const form of ['fused', 'composite'] as const) {
      useWhittleBackend();
      if (form === 'composite') tf.setBackend('cpu');
      const parameters = tinyParameters(textHead, 1);
      const model = new TrainableModel({ description, head: textHead, parameters, seed: 1, form });
      const examples = tinyExamples(textHead, 12, 5);
      const stage = stageSchema.parse({ train: 'all', steps: 4, learningRate: learningRate[kind], optimizer });
      const { stages } = await trainStages(model, {
        ...{ stages: [stage], trainExamples: examples, devExamples: [], batchSize: 12, seed: 3 },
        masks: new Map([['layers.0.intermediate.weight', mask]]),
      });
      const losses = stages[0]!.curve.map(({ loss }) => loss);
      assert.ok(losses.at(-1)! < losses[0]!, `losses ${losses}`);
      const weights = model.toParameters();
      weights.get('layers.0.intermediate.weight')!.data.forEach((value, at) => assert.is(value === 0, mask[at] === 0));
      results.push(losses);
      model.dispose();
    }
    results[0]!.forEach((loss, step) => assert.ok(Math.abs(loss - results[1]![step]!) < 1e-3));
  });

test('words that do not occur are left alone, or decay, as the optimizer says', async () => {
  useWhittleBackend();
  const unused = 59 * tinyDescription.hidden; // the largest id of tinyExamples is 53
  const start = tinyParameters(textHead, 1).get('embeddings.word')!.data;
  const after = async (optimizer: string, weightDecay: number) => {
    const parameters = tinyParameters(textHead, 1);
    const model = new TrainableModel({ description: tinyDescription, head: textHead, parameters, seed: 1 });
    const stage = {
      train: 'all',
      steps: 2,
      learningRate: 0.1,
      warmupRatio: 0,
      schedule: 'constant',
      optimizer,
      weightDecay,
    };
    await trainStages(model, {
      ...{ stages: [stageSchema.parse(stage)], trainExamples: tinyExamples(textHead, 8, 5), devExamples: [] },
      ...{ batchSize: 8, seed: 3 },
    });
    const values = model.toParameters().get('embeddings.word')!.data;
    model.dispose();
    return values;
  };
  for (const [optimizer, weightDecay, factor] of [
    ['lion', 0.5, 0.95 ** 2],
    ['adam', 0, 1],
    ['sgd', 0, 1],
    ['adafactor', 0.5, 0.95 ** 2],
    // Velocity: 0.5 w, then 0.9 * 0.5 w + 0.5 * 0.95 w.
    ['sgd', 0.5, 0.95 - 0.1 * (0.45 + 0.475)],
  ] as const) {
    const values = await after(optimizer, weightDecay);
    for (let at = unused; at < values.length; at++)
      assert.ok(Math.abs(values[at]! - start[at]! * factor) < 1e-6, `${optimizer}, ${weightDecay}`);
  }
});

const schedules = read('schedules') as {
  schedule: Schedule;
  steps: number;
  warmupSteps: number;
  factors: number[];
}[];
for (const { schedule, steps, warmupSteps, factors } of schedules)
  test(`${JSON.stringify(schedule)} over ${steps} steps, ${warmupSteps} of them warm-up`, () => {
    const checked = scheduleSchema.parse(schedule);
    factors.forEach((factor, step) => {
      const actual = scheduleFactor(checked, step, steps, warmupSteps);
      assert.ok(Math.abs(actual - factor) < 1e-7, `step ${step}: ${actual}, not ${factor}`);
    });
  });

test('warm-up by steps, and stages that are a single step', () => {
  const stage = stageSchema.parse({ train: 'all', steps: 10, learningRate: 1, warmupSteps: 3 });
  assert.is(stage.warmupSteps, 3);
  for (const schedule of ['constant', 'linear', 'cosine', 'cosine-with-restarts', 'polynomial', 'one-cycle'] as const)
    for (const warmupSteps of [0, 1]) assert.ok(Number.isFinite(scheduleFactor(schedule, 0, 1, warmupSteps)), schedule);
});

test('bad optimizers and schedules are refused in one sentence', async () => {
  const check =
    (stage: object, step: object = {}) =>
    () =>
      checkOptions(
        finetuneSchema,
        { stages: [{ train: 'all', epochs: 1, learningRate: 1e-3, ...stage }], ...step },
        'finetune',
      );
  check({ optimizer: { kind: 'lion' }, schedule: { kind: 'polynomial' } }, { optimizer: 'sgd' })();
  await expectError(check({ optimizer: 'adma' }), 'BAD_OPTION', /stages\[0\]\.optimizer: expected one of adamw, adam/);
  await expectError(
    check({ optimizer: { kind: 'sgd', momentm: 0.5 } }),
    'BAD_OPTION',
    /unknown key "momentm" in stages\[0\]\.optimizer; did you mean "momentum"\?/,
  );
  await expectError(
    check({ optimizer: { kind: 'sgd', momentum: 0, nesterov: true } }),
    'BAD_OPTION',
    /expected a momentum above 0 with nesterov/,
  );
  await expectError(check({ optimizer: { kind: 'lion', betas: [0.9] } }), 'BAD_OPTION', /optimizer/);
  await expectError(check({ schedule: 'cosin' }), 'BAD_OPTION', /stages\[0\]\.schedule: expected one of constant/);
  await expectError(
    check({ schedule: { kind: 'polynomial', power: 0 } }),
    'BAD_OPTION',
    /schedule\.power: expected a power above 0/,
  );
  await expectError(check({}, { optimizer: 'sdg' }), 'BAD_OPTION', /optimizer: expected one of adamw/);
});

test.run();
