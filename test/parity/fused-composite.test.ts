/**
 * The fused form of the model against the composite form on the pure JavaScript backend: loss, logits and the gradient
 * of every parameter, over a ragged batch with lengths from 1 to 512, without dropout and with the same dropout masks.
 */
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../bindings/load.js';
import type { TrainingPrecision } from '../../bindings/native.js';
import { crossEntropy } from '../../lib/backend/operations.js';
import { useWhittleBackend } from '../../lib/backend/register.js';
import { raggedBatch, type Example } from '../../lib/data/batch.js';
import type { TaskHead } from '../../lib/models/description.js';
import { TrainableModel } from '../../lib/training/model.js';
import { generator } from '../../lib/training/random.js';
import { skip } from '../harness.js';
import { textHead, tinyDescription, tinyParameters, tokenHead } from '../unit/training/tiny-model.js';

const seed = 77;
/** Tokens of the sequences of a batch. */
const batches = { short: [1, 2, 17, 63, 1, 64, 65, 130], long: [512, 1] };
/**
 * Largest error of a gradient, of the logits and of the loss relative to their norms. bfloat16 has 8 bits of
 * significand (a product of rounded factors is off by up to 2^-8), and the errors of two layers forward and backward
 * add up.
 */
const tolerances: Record<TrainingPrecision, number> = { float32: 1e-4, bfloat16: 5e-2 };

interface Outcome {
  loss: number;
  logits: Float32Array;
  gradients: Map<string, Float32Array>;
}

interface Case {
  head: TaskHead;
  lengths: readonly number[];
  dropout: number;
  /** Of relative positions, which MPNet has. */
  positionBuckets: number;
}

function examplesFor({ task, labels }: TaskHead, lengths: readonly number[]): Example[] {
  const random = generator(seed);
  const below = (count: number) => Math.floor(random() * count);
  return lengths.map((length) => {
    const inputIds = Int32Array.from({ length }, () => below(tinyDescription.vocabulary));
    const example = { inputIds, tokenTypeIds: inputIds.map((_, at) => (at > length / 2 ? 1 : 0)) };
    if (task !== 'token-classification') return { ...example, label: below(labels.length) };
    return { ...example, tokenLabels: inputIds.map(() => (random() < 0.2 ? -100 : below(labels.length))) };
  });
}

function run(
  form: 'fused' | 'composite',
  { head, lengths, dropout, positionBuckets }: Case,
  precision: TrainingPrecision,
): Outcome {
  useWhittleBackend();
  if (form === 'composite') tf.setBackend('cpu');
  const description = { ...tinyDescription, positions: 512, positionBuckets };
  const model = new TrainableModel({
    ...{ description, head, parameters: tinyParameters(head, seed, description), seed, form, precision },
  });
  const batch = raggedBatch(examplesFor(head, lengths));
  const pass = {
    ...{ trained: new Set(model.parameters.keys()), hiddenDropout: dropout, attentionDropout: dropout, seed },
    step: 5,
  };
  let logits = new Float32Array();
  const { value, gradients: grads } = model.gradients(pass, (taking) => {
    const output = model.forward(batch, taking);
    logits = Float32Array.from(output.dataSync());
    return crossEntropy(output, batch.labels);
  });
  const gradients = new Map(
    [...model.parameters].map(([name, variable]) => [name, Float32Array.from(grads[variable.name]!.dataSync())]),
  );
  const loss = value.dataSync()[0]!;
  tf.dispose([value, grads]);
  model.dispose();
  return { loss, logits, gradients };
}

const worst: Record<TrainingPrecision, number> = { float32: 0, bfloat16: 0 };

for (const head of [textHead, tokenHead])
  for (const dropout of [0, 0.2])
    for (const positionBuckets of head === textHead ? [0, 32] : [0])
      for (const [name, lengths] of Object.entries(batches)) {
        if (name === 'long' && (dropout === 0 || head === tokenHead)) continue;
        const buckets = positionBuckets ? ', relative positions' : '';
        test(`${head.task}, dropout ${dropout}${buckets}, ${name} sequences (seed ${seed})`, () => {
          const options = { head, lengths, dropout, positionBuckets };
          const expected = run('composite', options, 'float32');
          for (const precision of ['float32', 'bfloat16'] as const) {
            if (precision === 'bfloat16' && !native.machineInfo().nativeBf16)
              skip('this machine multiplies no bfloat16, which then is float32');
            compare(run('fused', options, precision), expected, precision);
          }
        });
      }

test('how far apart the forms are', () => {
  const [float32, bfloat16] = [worst.float32, worst.bfloat16].map((error) => error.toExponential(1));
  console.log(`\nNOTE: fused and composite form: largest relative error float32 ${float32}, bfloat16 ${bfloat16}`);
});

function compare(actual: Outcome, expected: Outcome, precision: TrainingPrecision): void {
  const tolerance = tolerances[precision];
  const lossError = Math.abs(actual.loss - expected.loss) / expected.loss;
  assert.ok(lossError <= tolerance, `${precision}: loss ${actual.loss} is not ${expected.loss}`);
  const logitError = distance(actual.logits, expected.logits) / norm(expected.logits);
  assert.ok(logitError <= tolerance, `${precision}: relative error of the logits ${logitError}`);
  const total = Math.hypot(...[...expected.gradients.values()].map(norm));
  for (const [name, gradient] of expected.gradients) {
    // The keys' biases have no gradient but rounding errors: softmax does not see them.
    const scale = Math.max(norm(gradient), 1e-3 * total);
    const error = distance(actual.gradients.get(name)!, gradient) / scale;
    worst[precision] = Math.max(worst[precision], error);
    assert.ok(error <= tolerance, `${precision}: relative error of the gradient of ${name}: ${error}`);
  }
}

function norm(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

function distance(a: Float32Array, b: Float32Array): number {
  return norm(a.map((value, at) => value - b[at]!));
}

test.run();
