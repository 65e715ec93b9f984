/** A run of stages that is captured at any step and goes on in another process ends with the same bits. */
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { useWhittleBackend } from '../../../lib/backend/register.js';
import type { TaskHead } from '../../../lib/models/description.js';
import { TrainableModel } from '../../../lib/training/model.js';
import { stageSchema, type StageOptions } from '../../../lib/training/stages.js';
import { trainStages, type TrainingState, type TrainOptions } from '../../../lib/training/train.js';
import { textHead, tinyDescription, tinyExamples, tinyParameters, tokenHead } from './tiny-model.js';

type Form = 'fused' | 'composite';

function makeModel(head: TaskHead, form: Form): TrainableModel {
  useWhittleBackend();
  if (form === 'composite') tf.setBackend('cpu');
  return new TrainableModel({ description: tinyDescription, head, parameters: tinyParameters(head, 1), seed: 1, form });
}

/** What a file would give back. */
function copy({ progress, tensors }: TrainingState): TrainingState {
  return {
    progress: JSON.parse(JSON.stringify(progress)) as TrainingState['progress'],
    tensors: new Map([...tensors].map(([name, values]) => [name, values.slice()])),
  };
}

/** Runs undisturbed and captures after every step, then goes on from each of these places in a new model. */
async function assertResumes(
  stages: StageOptions[],
  head: TaskHead = textHead,
  form: Form = 'fused',
  options: Partial<TrainOptions> = {},
): Promise<void> {
  const rows = tinyExamples(head, 60, 5);
  const common: TrainOptions = {
    stages: stages.map((stage) => stageSchema.parse(stage)),
    trainExamples: rows.slice(0, 44),
    devExamples: rows.slice(44),
    ...{ batchSize: 16, seed: 3 },
    ...options,
  };
  const whole = makeModel(head, form);
  const states: TrainingState[] = [];
  const result = await trainStages(whole, { ...common, afterStep: ({ capture }) => void states.push(copy(capture())) });
  const expected = whole.toParameters();
  whole.dispose();
  assert.ok(states.length >= stages.length);
  const untimed = (text: string) =>
    JSON.parse(text, (key, value: unknown) => (/seconds|tokensPerSecond/i.test(key) ? 0 : value)) as unknown;
  for (const state of states) {
    const model = makeModel(head, form);
    const again = await trainStages(model, { ...common, from: state });
    const place = `stage ${state.progress.stage}, step ${state.progress.step}`;
    assert.equal(untimed(JSON.stringify(again)), untimed(JSON.stringify(result)), place);
    for (const [name, { data }] of model.toParameters())
      data.forEach((value, at) => assert.is(value, expected.get(name)!.data[at], `${place}: ${name}[${at}]`));
    model.dispose();
  }
}

const threeStages: StageOptions[] = [
  { train: 'head', epochs: 1, learningRate: 1e-2 },
  { train: ['head', 'layers.1'], steps: 2, learningRate: 5e-3 },
  { train: 'all', steps: 5, learningRate: 3e-3, earlyStopping: { metric: 'loss', patience: 1 } },
];

for (const head of [textHead, tokenHead])
  test(`${head.task}: goes on at any step with the same bits`, () => assertResumes(threeStages, head));

test('composite form: goes on at any step with the same bits', () =>
  assertResumes([{ train: 'all', steps: 3, learningRate: 3e-3 }], textHead, 'composite'));

test('unfreezing, averaging, accumulating, grouping by length: the same bits', () =>
  assertResumes([
    {
      ...{ train: 'all', epochs: 2, learningRate: 1e-3, unfreeze: { every: '3 steps' } },
      ...{ ema: 0.9, evaluateEvery: '2 steps', batchSize: 4, gradientAccumulation: 2, groupByLength: true },
      ...{ optimizer: 'lion', loss: { rDrop: 1 }, earlyStopping: { metric: 'loss', patience: 9 } },
    },
    { train: 'layers.*.attention.*', steps: 2, learningRate: 1e-3, optimizer: 'adafactor', ema: 0.5 },
  ]));

test('a stage that stopped early stays stopped', () =>
  assertResumes([
    // The loss falls, so that an early stop is sure.
    { train: 'all', epochs: 6, learningRate: 3e-3, earlyStopping: { metric: 'loss', mode: 'max', patience: 1 } },
    { train: 'head', steps: 2, learningRate: 3e-3 },
  ]));

test.run();
