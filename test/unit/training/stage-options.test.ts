/** What stages can be told beside rates and lengths: unfreezing, averaging, evaluation, callbacks, the order of rows. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { useWhittleBackend } from '../../../lib/backend/register.js';
import type { TaskHead } from '../../../lib/models/description.js';
import type { Parameters } from '../../../lib/models/parameters.js';
import type { ProgressEvent, StepEvent } from '../../../lib/step.js';
import { DataOrder } from '../../../lib/training/data-order.js';
import { TrainableModel } from '../../../lib/training/model.js';
import { multipleNegatives } from '../../../lib/training/task-objectives.js';
import { stageSchema, type StageOptions } from '../../../lib/training/stages.js';
import { trainStages, type TrainOptions, type TrainResult } from '../../../lib/training/train.js';
import { expectError } from '../../harness.js';
import { textHead, tinyDescription, tinyExamples, tinyParameters, tokenHead } from './tiny-model.js';

interface Trained {
  result: TrainResult;
  weights: Parameters;
  /** The weights after each step. */
  steps: Parameters[];
}

async function train(
  stages: StageOptions[],
  options: Partial<TrainOptions> = {},
  head: TaskHead = textHead,
): Promise<Trained> {
  useWhittleBackend();
  const parameters = tinyParameters(head, 1);
  const model = new TrainableModel({ description: tinyDescription, head, parameters, seed: 1 });
  const rows = tinyExamples(head, 60, 5);
  const steps: Parameters[] = [];
  try {
    const result = await trainStages(model, {
      stages: stages.map((stage) => stageSchema.parse(stage)),
      ...{ trainExamples: rows.slice(0, 44), devExamples: rows.slice(44), batchSize: 16, seed: 3 },
      afterStep: () => void steps.push(model.toParameters()),
      ...options,
    });
    return { result, weights: model.toParameters(), steps };
  } finally {
    model.dispose();
  }
}

const start = tinyParameters(textHead, 1);
const changed = (weights: Parameters, name: string, since = start) =>
  weights.get(name)!.data.some((value, at) => value !== since.get(name)!.data[at]);

test('unfreezing adds a layer at a time, and keeps what the optimizer knows of the others', async () => {
  const unfreeze = { every: '2 steps' };
  const stage = { train: 'all', steps: 8, learningRate: 1e-3, warmupRatio: 0, schedule: 'constant' as const };
  const { steps } = await train([{ ...stage, unfreeze }]);
  const names = ['pooler.weight', 'layers.1.output.weight', 'layers.0.output.weight', 'embeddings.norm.weight'];
  names.forEach((name, depth) =>
    steps.forEach((weights, step) => assert.is(changed(weights, name), step >= 2 * depth, `${name}, step ${step + 1}`)),
  );
  // Two stages by hand begin the head's moments anew, and their steps are others than one stage's that goes on.
  const hand = await train([
    { ...stage, train: 'head', steps: 2 },
    { ...stage, train: ['head', 'layers.1'], steps: 2 },
  ]);
  assert.is(changed(hand.steps[1]!, 'pooler.weight', steps[1]!), false);
  assert.is(changed(hand.steps[2]!, 'pooler.weight', steps[2]!), true);
});

test('words that no row uses decay only while the embeddings train', async () => {
  const stage = { train: 'all', steps: 8, learningRate: 0.1, weightDecay: 0.5, schedule: 'constant' as const };
  const { weights } = await train([{ ...stage, warmupRatio: 0, unfreeze: { every: '2 steps' } }]);
  const before = start.get('embeddings.word')!.data;
  const unused = 59 * tinyDescription.hidden; // the largest id of tinyExamples is 53
  weights
    .get('embeddings.word')!
    .data.subarray(unused)
    .forEach((value, at) => {
      // Of 8 steps the last two.
      assert.ok(Math.abs(value - before[unused + at]! * 0.95 ** 2) < 1e-6);
    });
});

test('a stage of one step trains, and a warm-up longer than the stage is cut short with a note', async () => {
  for (const schedule of ['linear', 'one-cycle', 'constant'] as const) {
    const { weights } = await train([{ train: 'head', steps: 1, learningRate: 1e-3, schedule }]);
    assert.is(changed(weights, 'pooler.weight'), true, schedule);
  }
  const notes: string[] = [];
  const rates: number[] = [];
  await train([{ train: 'head', steps: 3, learningRate: 1e-3, warmupSteps: 10 }], {
    onNote: (note) => void notes.push(note),
    onStep: ({ learningRate }) => void rates.push(learningRate),
  });
  assert.equal(notes, ['stage 1 (head): the warm-up takes 2 steps, not 10: there are 3 in all']);
  assert.equal(rates, [0, 5e-4, 1e-3]);
});

test('keeping the outputs of frozen layers changes no bit', async () => {
  // An epoch is 3 steps: outputs are kept from there on, and computed at each step below.
  for (const group of ['head', 'layers.1']) {
    const frozen: string[] = [];
    const stage = { train: group, learningRate: 1e-3, warmupRatio: 0, schedule: 'constant' as const };
    const onProgress = ({ phase }: ProgressEvent) => void (phase.includes('frozen') && frozen.push(phase));
    const short = await train([{ ...stage, steps: 2 }], { onProgress });
    assert.is(frozen.length, 0);
    const long = await train([{ ...stage, steps: 3 }], { onProgress });
    assert.ok(frozen.length > 0);
    for (const step of [0, 1])
      for (const name of start.keys()) assert.is(changed(short.steps[step]!, name, long.steps[step]!), false, name);
  }
});

test('a stage too short to unfreeze everything says so and leaves the rest alone', async () => {
  const notes: string[] = [];
  const { weights } = await train([{ train: 'all', epochs: 2, learningRate: 1e-3, unfreeze: { every: '1 epoch' } }], {
    onNote: (note) => void notes.push(note),
  });
  assert.equal(notes, ['stage 1 (all): ends after 6 steps, with 2 of 4 layers still to unfreeze']);
  assert.is(changed(weights, 'layers.1.output.weight'), true);
  assert.is(changed(weights, 'layers.0.output.weight'), false);
});

test('patterns train what they match and nothing else', async () => {
  const { weights } = await train([{ train: ['*.bias', 'layers.1.attention.*'], steps: 2, learningRate: 1e-2 }]);
  for (const name of weights.keys())
    if (!name.endsWith('key.bias'))
      assert.is(changed(weights, name), /\.bias$|^layers\.1\.attention\./.test(name), name);
});

test('groups train with their own rate and decay', async () => {
  const stage = { train: 'all', steps: 1, learningRate: 1e-3, warmupRatio: 0, weightDecay: 0, gradientClip: 0 };
  const plain = await train([stage]);
  const grouped = await train([
    {
      ...stage,
      groups: [
        { parameters: 'layers.0', learningRate: 5e-3 },
        { parameters: 'pooler.weight', weightDecay: 0.5 },
      ],
    },
  ]);
  // Adam's first step is as long as the rate.
  const moved = ({ weights }: Trained, name: string, at: number) =>
    weights.get(name)!.data[at]! - start.get(name)!.data[at]!;
  for (const at of [0, 7, 31]) {
    const name = 'layers.0.output.weight';
    assert.ok(Math.abs(moved(grouped, name, at) / moved(plain, name, at) - 5) < 1e-2);
    assert.is(moved(grouped, 'layers.1.output.weight', at), moved(plain, 'layers.1.output.weight', at));
    const decay = moved(grouped, 'pooler.weight', at) - moved(plain, 'pooler.weight', at);
    assert.ok(Math.abs(decay + 1e-3 * 0.5 * start.get('pooler.weight')!.data[at]!) < 1e-6);
  }
});

test('the moving average is what is scored and kept, and training goes on from the weights themselves', async () => {
  const stage: StageOptions = { train: 'all', epochs: 2, learningRate: 3e-3, evaluateEvery: '2 steps' };
  const plain = await train([stage]);
  const scored: Parameters[] = [];
  useWhittleBackend();
  const parameters = tinyParameters(textHead, 1);
  const model = new TrainableModel({ description: tinyDescription, head: textHead, parameters, seed: 1 });
  const rows = tinyExamples(textHead, 60, 5);
  const steps: Parameters[] = [];
  await trainStages(model, {
    stages: [stageSchema.parse({ ...stage, ema: 0.6 })],
    ...{ trainExamples: rows.slice(0, 44), devExamples: rows.slice(44), batchSize: 16, seed: 3 },
    evaluateDev: () => (scored.push(model.toParameters()), {}),
    afterStep: () => void steps.push(model.toParameters()),
  });
  for (const name of ['classifier.weight', 'layers.0.output.weight', 'embeddings.word']) {
    const average = Float64Array.from(start.get(name)!.data);
    plain.steps.forEach((weights, step) => {
      assert.is(changed(steps[step]!, name, weights), false, 'training itself is the same');
      const decay = Math.min(0.6, (2 + step) / (11 + step));
      weights.get(name)!.data.forEach((value, at) => (average[at]! += (1 - decay) * (value - average[at]!)));
      if (step % 2 === 0) return;
      const there = scored[(step - 1) / 2]!.get(name)!.data;
      average.forEach((value, at) =>
        assert.ok(Math.abs(value - there[at]!) < 1e-5, `${name}[${at}], step ${step + 1}`),
      );
    });
  }
  const kept = model.toParameters();
  for (const name of kept.keys()) assert.is(changed(kept, name, scored.at(-1)!), false, name);
  model.dispose();
});

test('the dev set is scored as often as asked for, and after the last step', async () => {
  const scoredAt = async (stage: object) =>
    (await train([{ train: 'head', learningRate: 1e-3, ...stage } as StageOptions])).result.stages[0]!.evaluations.map(
      ({ step }) => step,
    );
  assert.equal(await scoredAt({ epochs: 3 }), [3, 6, 9]);
  assert.equal(await scoredAt({ steps: 7 }), [3, 6, 7]);
  assert.equal(await scoredAt({ epochs: 3, evaluateEvery: { steps: 2 } }), [2, 4, 6, 8, 9]);
  assert.equal(await scoredAt({ epochs: 2, evaluateEvery: { epochs: 0.5 } }), [2, 3, 5, 6]);
  assert.equal(await scoredAt({ epochs: 3, evaluateEvery: '2 epochs' }), [6, 9]);
});

test('a callback sees each step and may end the stage there', async () => {
  const events: StepEvent[] = [];
  const { result } = await train(
    [
      { train: 'head', epochs: 3, learningRate: 1e-3, schedule: 'constant', warmupSteps: 1 },
      { train: 'all', steps: 2, learningRate: 1e-4 },
    ],
    { onStep: (event) => (events.push(event), event.stage === 1 && event.step === 4 ? 'stop' : undefined) },
  );
  const [first, second] = result.stages;
  assert.is(first!.steps, 4);
  assert.is(first!.stoppedEarly, true);
  assert.equal(
    first!.evaluations.map(({ step }) => step),
    [3, 4],
  );
  assert.is(first!.kept!.step, 4);
  assert.is(second!.stoppedEarly, false);
  assert.equal(
    events.map(({ stage, step, steps }) => [stage, step, steps]),
    [1, 2, 3, 4].map((step) => [1, step, 9]).concat([1, 2].map((step) => [2, step, 2])),
  );
  assert.equal(
    events.slice(0, 4).map(({ learningRate }) => learningRate),
    [0, 1e-3, 1e-3, 1e-3],
  );
  for (const { loss, gradientNorm, tokensPerSecond, train } of events) {
    assert.ok(loss > 0 && gradientNorm > 0 && tokensPerSecond > 0);
    assert.match(train, /^(head|all)$/);
  }
  assert.is(events[3]!.epoch, 4 / 3);
  assert.is(events[3]!.tokens, first!.tokens);
});

test('rows of similar length come together, every row once an epoch, in an order of the seed', () => {
  const rows = tinyExamples(tokenHead, 500, 7);
  const order = (seed: number, groupByLength: boolean) =>
    new DataOrder(rows, { seed, stage: 0, batchSize: 8, batchesPerStep: 1, groupByLength });
  const spread = (batches: DataOrder) => {
    let sum = 0;
    for (let step = 0; step < batches.stepsPerEpoch; step++) {
      const lengths = [...batches.batches(step)[0]!.indices].map((row) => rows[row]!.inputIds.length);
      sum += Math.max(...lengths) - Math.min(...lengths);
    }
    return sum / batches.stepsPerEpoch;
  };
  assert.ok(spread(order(1, true)) < 1, `${spread(order(1, true))}`);
  assert.ok(spread(order(1, false)) > 4);
  const rowsOf = (batches: DataOrder, epoch: number) =>
    Array.from({ length: batches.stepsPerEpoch }, (_, at) => [
      ...batches.batches(epoch * batches.stepsPerEpoch + at)[0]!.indices,
    ]);
  const grouped = rowsOf(order(1, true), 0);
  assert.equal(
    grouped.flat().sort((a, b) => a - b),
    rows.map((_, row) => row),
  );
  assert.equal(grouped, rowsOf(order(1, true), 0));
  assert.not.equal(grouped, rowsOf(order(1, true), 1));
  assert.not.equal(grouped, rowsOf(order(2, true), 0));
  assert.is(grouped.at(-1)!.length, 4);
  // Long and short batches alternate.
  const firsts = grouped.map((batch) => rows[batch[0]!]!.inputIds.length);
  assert.ok(firsts.some((length, at) => at > 0 && length > firsts[at - 1]! + 2));
});

test('a batch larger than the data is one step an epoch, and a note says so', async () => {
  const notes: string[] = [];
  const { result } = await train(
    [{ train: 'head', epochs: 2, learningRate: 1e-3, batchSize: 32, gradientAccumulation: 2 }],
    {
      onNote: (note) => void notes.push(note),
    },
  );
  assert.is(result.stages[0]!.steps, 2);
  assert.equal(notes, ['stage 1 (head): a step takes 64 rows, but there are 44 to train on: each epoch is one step']);
});

test('stages that the model or the data cannot do are refused before any of them trains', async () => {
  let steps = 0;
  const refused =
    (stage: object, options: Partial<TrainOptions> = {}) =>
    () =>
      train(
        [
          { train: 'head', steps: 1, learningRate: 1e-3 },
          { train: 'all', epochs: 1, learningRate: 1e-3, ...stage },
        ],
        {
          onStep: () => void steps++,
          ...options,
        },
      );
  await expectError(
    refused({ train: 'layers.4-5' }),
    'BAD_OPTION',
    /^stage 2 \(layers\.4-5\): train: "layers\.4-5" names a layer that the model lacks; it has 2 layers, layers\.0-1$/,
  );
  await expectError(
    refused({ groups: [{ parameters: 'all', learningRate: 0 }] }),
    'BAD_OPTION',
    /^stage 2 \(all\): groups: expected a learning rate above 0 for some of what the stage trains but found none$/,
  );
  await expectError(
    refused({ batchSize: 1 }, { objective: multipleNegatives(20) }),
    'BAD_OPTION',
    /^stage 2 \(all\): batchSize: expected at least 2, since the loss compares the rows of a batch, but found 1$/,
  );
  await expectError(
    refused({ loss: { classWeights: [1, 2] } }),
    'BAD_OPTION',
    /^stage 2 \(all\): classWeights: expected a weight for each of the 3 labels but found 2$/,
  );
  await expectError(
    refused({ earlyStopping: { metric: 'lossy' } }),
    'BAD_OPTION',
    /^stage 2 \(all\): earlyStopping: no dev metric "lossy"; did you mean "loss"\?$/,
  );
  await expectError(
    refused({ earlyStopping: { metric: 'loss' } }, { devExamples: [] }),
    'BAD_DATA',
    /^stage 2 \(all\): early stopping expects dev rows but found none$/,
  );
  assert.is(steps, 0);
});

test.run();
