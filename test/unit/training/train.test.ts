/** The training loop on a small random BERT, in both forms. */
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../../bindings/load.js';
import { useWhittleBackend } from '../../../lib/backend/register.js';
import type { TaskHead } from '../../../lib/models/description.js';
import type { Parameters } from '../../../lib/models/parameters.js';
import type { ProgressEvent } from '../../../lib/step.js';
import { predictLogits } from '../../../lib/training/dev.js';
import { FrozenCache } from '../../../lib/training/frozen-cache.js';
import { TrainableModel } from '../../../lib/training/model.js';
import { stageSchema, type StageOptions } from '../../../lib/training/stages.js';
import { trainStages, type TrainOptions } from '../../../lib/training/train.js';
import { expectError } from '../../harness.js';
import { textHead, tinyDescription, tinyExamples, tinyParameters, tokenHead } from './tiny-model.js';

type Form = 'fused' | 'composite';
const examples = (head: TaskHead) => tinyExamples(head, 60, 5);

function makeModel(head: TaskHead, form: Form, description = tinyDescription): TrainableModel {
  useWhittleBackend();
  if (form === 'composite') tf.setBackend('cpu');
  return new TrainableModel({ description, head, parameters: tinyParameters(head, 1), seed: 1, form });
}

function train(model: TrainableModel, stages: StageOptions[], options: Partial<TrainOptions> = {}) {
  const rows = examples(model.head);
  return trainStages(model, {
    stages: stages.map((stage) => stageSchema.parse(stage)),
    trainExamples: rows.slice(0, 44),
    devExamples: rows.slice(44),
    batchSize: 16,
    seed: 3,
    ...options,
  });
}

function assertClose(actual: Parameters, expected: Parameters, tolerance: number): void {
  for (const [name, { data }] of expected) {
    const other = actual.get(name)!.data;
    data.forEach((value, at) =>
      assert.ok(Math.abs(value - other[at]!) <= tolerance, `${name}[${at}]: ${other[at]} is not ${value}`),
    );
  }
}

const threeStages: StageOptions[] = [
  { train: 'head', epochs: 2, learningRate: 1e-2 },
  { train: ['head', 'layers.1'], epochs: 1, learningRate: 5e-3 },
  { train: 'all', steps: 5, learningRate: 3e-3, layerDecay: 0.9 },
];

for (const form of ['composite', 'fused'] as const)
  for (const head of [textHead, tokenHead]) {
    test(`${head.task}, ${form}: three stages learn, twice the same, without a leak`, async () => {
      const events: ProgressEvent[] = [];
      const results: Parameters[] = [];
      for (const run of [1, 2]) {
        const before = tf.memory().numTensors;
        const model = makeModel(head, form);
        const tensors = tf.memory().numTensors;
        const result = await train(model, threeStages, { onProgress: (event) => run === 1 && events.push(event) });
        assert.is(tf.memory().numTensors, tensors, 'tensors after training');
        results.push(model.toParameters());
        model.dispose();
        assert.is(tf.memory().numTensors, before, 'tensors after dispose');
        const losses = result.stages.flatMap(({ evaluations }) => evaluations.map(({ metrics }) => metrics.loss!));
        assert.ok(losses.at(-1)! < losses[0]!, `dev losses ${losses}`);
        assert.equal(
          result.stages.map(({ steps }) => steps),
          [6, 3, 5],
        );
        assert.is(result.metrics.loss, losses.at(-1));
      }
      assertClose(results[0]!, results[1]!, 0);
      const steps = events.filter(({ unit, loss }) => unit === 'step' && loss !== undefined);
      assert.is(steps.length, 14);
      assert.ok(
        steps.every((event) => event.learningRate! >= 0 && event.tokensPerSecond! > 0 && event.secondsLeft! >= 0),
      );
      assert.is(steps[0]!.phase, 'stage 1 of 3 (head)');
    });

    test(`${head.task}, ${form}: a frozen part stays as it is, and keeping its outputs changes nothing`, async () => {
      const description = { ...tinyDescription, hiddenDropout: 0, attentionDropout: 0 };
      const start = tinyParameters(head, 1);
      for (const group of ['head', 'layers.1']) {
        const model = makeModel(head, form, description);
        await train(model, [{ train: group, epochs: 1, learningRate: 5e-3 }]);
        const parameters = model.toParameters();
        model.dispose();
        for (const [name, { data }] of start) {
          const same = data.every((value, at) => value === parameters.get(name)!.data[at]);
          const isTrained = group === 'head' ? /^(pooler|classifier)/.test(name) : name.startsWith('layers.1.');
          // A key's bias has no gradient but rounding errors.
          if (!name.endsWith('key.bias')) assert.is(same, !isTrained, name);
        }
        const depth = group === 'head' ? 2 : 1;
        const whole = makeModel(head, form, description);
        const rows = examples(head).slice(0, 9);
        const cache = await FrozenCache.build(whole, depth, rows, async () => {});
        assert.equal(await predictLogits(whole, rows, cache), await predictLogits(whole, rows));
        whole.dispose();
      }
    });
  }

test('both forms train to the same weights without dropout', async () => {
  const description = { ...tinyDescription, hiddenDropout: 0, attentionDropout: 0 };
  for (const head of [textHead, tokenHead]) {
    const results: Parameters[] = [];
    for (const form of ['composite', 'fused'] as const) {
      const model = makeModel(head, form, description);
      // Plain gradients are compared elsewhere; Adam's first steps divide tiny ones by themselves, hence a low rate.
      await train(model, [{ train: 'all', steps: 4, learningRate: 1e-4 }]);
      results.push(model.toParameters());
      model.dispose();
    }
    assertClose(results[1]!, results[0]!, 1e-4);
  }
});

test('gradients pass through frozen layers to what trains below them', async () => {
  const description = { ...tinyDescription, hiddenDropout: 0, attentionDropout: 0 };
  const start = tinyParameters(textHead, 1);
  const results: Parameters[] = [];
  for (const form of ['composite', 'fused'] as const) {
    const model = makeModel(textHead, form, description);
    await train(model, [{ train: ['embeddings', 'layers.1'], steps: 3, learningRate: 1e-4, warmupRatio: 0 }]);
    results.push(model.toParameters());
    model.dispose();
  }
  assertClose(results[1]!, results[0]!, 1e-4);
  for (const [name, { data }] of start) {
    const same = data.every((value, at) => value === results[1]!.get(name)!.data[at]);
    if (!name.endsWith('key.bias')) assert.is(same, !/^(embeddings|layers\.1)\./.test(name), name);
  }
});

test('the number of threads changes no bit of the weights', async () => {
  const results: Parameters[] = [];
  for (const threads of [1, 3]) {
    native.setThreads(threads);
    const model = makeModel(textHead, 'fused');
    await train(model, [{ train: 'all', epochs: 2, learningRate: 1e-3 }], { batchSize: 44 });
    results.push(model.toParameters());
    model.dispose();
  }
  native.setThreads(0);
  assertClose(results[1]!, results[0]!, 0);
});

test('early stopping ends the stage and gives back the best weights', async () => {
  const model = makeModel(textHead, 'fused');
  const scores = [0.5, 0.7, 0.6, 0.65, 0.9];
  const seen: Parameters[] = [];
  const result = await train(
    model,
    [{ train: 'all', epochs: 9, learningRate: 1e-3, earlyStopping: { metric: 'score', patience: 2 } }],
    { evaluateDev: () => (seen.push(model.toParameters()), { score: scores[seen.length - 1]! }) },
  );
  const [stage] = result.stages;
  assert.is(seen.length, 4);
  assert.is(stage!.stoppedEarly, true);
  assert.is(stage!.steps, 12);
  assert.is(stage!.kept!.step, 6);
  assert.is(result.metrics.score, 0.7);
  assertClose(model.toParameters(), seen[1]!, 0);
  model.dispose();
});

test('masks hold their parameters at zero', async () => {
  const model = makeModel(textHead, 'fused');
  const masks = new Map<string, Uint8Array>();
  for (const name of ['layers.0.intermediate.weight', 'embeddings.word'])
    masks.set(
      name,
      Uint8Array.from({ length: model.parameters.get(name)!.size }, (_, at) => (at % 3 === 0 ? 0 : 1)),
    );
  await train(model, [{ train: 'all', epochs: 1, learningRate: 1e-2 }], { masks });
  const parameters = model.toParameters();
  for (const [name, mask] of masks) {
    const used =
      name === 'embeddings.word' ? new Set(examples(textHead).flatMap(({ inputIds }) => [...inputIds])) : null;
    parameters.get(name)!.data.forEach((value, at) => {
      if (used && !used.has(Math.floor(at / tinyDescription.hidden))) return;
      assert.is(value === 0, mask[at] === 0, `${name}[${at}]`);
    });
  }
  model.dispose();
});

test('words that do not occur decay as if they had been updated every step', async () => {
  const model = makeModel(textHead, 'fused');
  const before = model.toParameters().get('embeddings.word')!.data;
  const stage = { train: 'all', steps: 6, learningRate: 0.1, weightDecay: 0.5, warmupRatio: 0 };
  await train(model, [stage]);
  const factor = [0, 1, 2, 3, 4, 5].reduce((product, step) => product * (1 - 0.1 * (1 - step / 6) * 0.5), 1);
  const after = model.toParameters().get('embeddings.word')!.data;
  const unused = 59 * tinyDescription.hidden; // the largest id of tinyExamples is 53
  for (let at = unused; at < before.length; at++) assert.ok(Math.abs(after[at]! - before[at]! * factor) < 1e-6);
  model.dispose();
});

test('a loss that is not finite names the step and leaves the last good weights', async () => {
  const model = makeModel(textHead, 'fused');
  let evaluated: Parameters | undefined;
  let calls = 0;
  const tensors = tf.memory().numTensors;
  await expectError(
    () =>
      train(model, [{ train: 'all', epochs: 3, learningRate: 1e-3 }], {
        objective: (logits) => tf.mul(tf.mean(logits), ++calls > 4 ? NaN : 1) as tf.Scalar,
        evaluateDev: () => ((evaluated = model.toParameters()), {}),
      }),
    'DIVERGED',
    /stage 1 \(all\): the loss became NaN at step 5 of 9; the stage's learning rate is 1e-3, as scheduled for this step 6\.25e-4; the last good weights are those of step 3/,
  );
  assertClose(model.toParameters(), evaluated!, 0);
  assert.is(tf.memory().numTensors, tensors);
  model.dispose();
});

test('an abort signal stops between steps', async () => {
  const model = makeModel(textHead, 'fused');
  const controller = new AbortController();
  let steps = 0;
  await expectError(
    () =>
      train(model, [{ train: 'all', epochs: 3, learningRate: 1e-3 }], {
        signal: controller.signal,
        onProgress: () => ++steps === 2 && controller.abort(),
      }),
    'ABORTED',
    /stage 1 of 1 \(all\): training was stopped/,
  );
  assert.is(steps, 2);
  model.dispose();
});

test('bad rows and models are refused', async () => {
  const model = makeModel(textHead, 'fused');
  const stages: StageOptions[] = [{ train: 'all', epochs: 1, learningRate: 1e-3 }];
  await expectError(() => train(model, stages, { trainExamples: [] }), 'BAD_DATA', /train split has none/);
  const rows = examples(textHead);
  rows[7]!.label = 3;
  await expectError(
    () => train(model, stages, { trainExamples: rows }),
    'BAD_DATA',
    /Training row 8: expected a label id below 3 but found 3/,
  );
  model.dispose();
  const parameters = tinyParameters(textHead, 1);
  parameters.delete('layers.1.output.weight');
  await expectError(
    () => new TrainableModel({ description: tinyDescription, head: textHead, parameters, seed: 1 }),
    'BAD_CHECKPOINT',
    /layers\.1\.output\.weight of shape \[32, 48\] but found none/,
  );
});

test('a new classifier is drawn from the seed, a pooler that is there is kept', () => {
  const parameters = tinyParameters(textHead, 1);
  parameters.delete('classifier.weight');
  parameters.delete('classifier.bias');
  const create = (seed: number) => {
    const model = new TrainableModel({ description: tinyDescription, head: textHead, parameters, seed });
    const result = model.toParameters();
    model.dispose();
    return result;
  };
  const [first, again, other] = [create(7), create(7), create(8)];
  assert.equal(first!.get('classifier.weight'), again!.get('classifier.weight'));
  assert.not.equal(first!.get('classifier.weight'), other!.get('classifier.weight'));
  assert.equal(first!.get('pooler.weight'), parameters.get('pooler.weight'));
  const values = first!.get('classifier.weight')!.data;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  assert.ok(deviation > 0.015 && deviation < 0.025, `deviation ${deviation}`);
  assert.ok(first!.get('classifier.bias')!.data.every((value) => value === 0));
});

test.run();
