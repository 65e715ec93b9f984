/**
 * The same finetune step on every device: the composite form on other backends ends where whittle's own kernels do.
 *
 * Set WHITTLE_TENSORFLOW to a folder where @tensorflow/tfjs-node is installed to test with that; without it, a
 * stand-in package registers the pure JavaScript backend under TensorFlow's name.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Dataset, Split, TextRow } from '../../../lib/data/dataset.js';
import { openCheckpoint } from '../../../lib/models/checkpoint.js';
import type { TrainingDevice } from '../../../lib/backend/devices.js';
import { finetune } from '../../../lib/training/finetune.js';
import type { StageOptions } from '../../../lib/training/stages.js';
import type { StageRecord } from '../../../lib/training/train.js';
import { expectError, root, skip, temporaryFolder } from '../../harness.js';
import { testContext, textDataset, textModel, tokenDataset, tokenModel } from '../compress/tiny-task.js';

const stages: StageOptions[] = [
  { train: 'head', epochs: 2, learningRate: 5e-3 },
  { train: 'layers.1', steps: 3, learningRate: 1e-3, layerDecay: 0.9, optimizer: 'adafactor' },
  {
    train: 'all',
    epochs: 2,
    learningRate: 1e-3,
    ema: 0.9,
    groupByLength: true,
    earlyStopping: { metric: 'loss', patience: 5 },
  },
];

/** Installs a package whose main file is `source` where `openDevice` looks for it, and goes there. */
function installPackage(name: string, source: string): void {
  const folder = temporaryFolder();
  const target = join(folder, 'node_modules', name);
  mkdirSync(target, { recursive: true });
  writeFileSync(join(target, 'package.json'), JSON.stringify({ name, main: 'index.js' }));
  writeFileSync(join(target, 'index.js'), source);
  process.chdir(folder);
}

const standIn = `
const { copyRegisteredKernels, registerBackend } = require(${JSON.stringify(join(root, 'node_modules/@tensorflow/tfjs-core'))});
const { MathBackendCPU } = require(${JSON.stringify(join(root, 'node_modules/@tensorflow/tfjs-backend-cpu'))});
copyRegisteredKernels('cpu', 'tensorflow');
registerBackend('tensorflow', () => Object.assign(new MathBackendCPU(), { firstUse: false, isUsingGpuDevice: true }));
`;

/** How many words a text has. */
function regressionDataset(): Dataset {
  const data = textDataset(8);
  const scored = (split: Split): Split => ({
    ...split,
    rows: (split.rows as TextRow[]).map(({ text }) => ({ text, label: text.split(' ').length })),
  });
  return {
    task: 'regression',
    labels: ['score'],
    train: scored(data.train),
    dev: scored(data.dev),
    test: scored(data.test),
  };
}

async function trainOn(device: TrainingDevice, folder: string, data: Dataset) {
  const context = testContext(data);
  const options = { stages, device, precision: 'float32', batchSize: 8, maxLength: 24 } as const;
  const { checkpoint, record } = await finetune(folder, options, context);
  const parameters = await (await openCheckpoint(checkpoint)).readParameters();
  const losses = (record.stages as StageRecord[]).flatMap(({ curve }) => curve.map(({ loss }) => loss));
  return { parameters, losses, device: record.device };
}

async function compare(device: TrainingDevice, expectedDevice: RegExp): Promise<void> {
  const labels = (await openCheckpoint(tokenModel)).head!.labels;
  for (const [folder, data] of [
    [textModel, textDataset(8)],
    [tokenModel, tokenDataset(labels, 24)],
    [textModel, regressionDataset()],
  ] as const) {
    const expected = await trainOn('cpu', folder, data);
    const before = tf.memory().numTensors;
    const actual = await trainOn(device, folder, data);
    assert.is(tf.memory().numTensors, before, 'tensors that training left behind');
    assert.match(String(actual.device), expectedDevice);
    assert.is(actual.losses.length, expected.losses.length);
    // Data order and dropout masks are the same, so that only rounding differs; Adam's first steps magnify that
    // where a gradient is all rounding, as that of the keys' biases.
    actual.losses.forEach((loss, at) =>
      assert.ok(
        Math.abs(loss - expected.losses[at]!) <= 2e-3 * expected.losses[at]!,
        `${data.task}, loss ${at}: ${loss} is not ${expected.losses[at]}`,
      ),
    );
    for (const [name, { data: values }] of expected.parameters) {
      if (name.endsWith('key.bias')) continue;
      const norm = Math.hypot(...values);
      const distance = Math.hypot(...actual.parameters.get(name)!.data.map((value, at) => value - values[at]!));
      assert.ok(distance <= 2e-3 * norm, `${data.task}, ${name}: relative distance ${distance / norm}`);
    }
  }
}

const home = process.cwd();
test.after.each(() => process.chdir(home));

test('javascript', () => compare('javascript', /^javascript$/));

test('wasm', () => compare('wasm', /^wasm$/));

test('two runs on different devices, one in between the steps of the other', async () => {
  const alone = [
    await trainOn('cpu', textModel, textDataset(8)),
    await trainOn('javascript', textModel, textDataset(8)),
  ];
  const together = await Promise.all([
    trainOn('cpu', textModel, textDataset(8)),
    trainOn('javascript', textModel, textDataset(8)),
  ]);
  together.forEach(({ losses, parameters }, which) => {
    assert.equal(losses, alone[which]!.losses);
    assert.equal(parameters, alone[which]!.parameters);
  });
});

test('a package that does not load says so', async () => {
  installPackage('@tensorflow/tfjs-node-gpu', 'throw new Error("libcudart.so.11.0 is missing\\nat x");');
  await expectError(
    () => trainOn('tensorflow', textModel, textDataset(4)),
    'UNSUPPORTED',
    /^device "tensorflow": @tensorflow\/tfjs-node-gpu is installed \(.*\) but does not load: libcudart\.so\.11\.0 is missing; run npm rebuild/,
  );
});

test('a package that is missing says what to install', async () => {
  process.chdir(temporaryFolder());
  try {
    await trainOn('tensorflow', textModel, textDataset(4));
    skip('a TensorFlow package is installed here');
  } catch (error) {
    assert.match(
      (error as Error).message,
      /^device "tensorflow": expected the package @tensorflow\/tfjs-node-gpu or @tensorflow\/tfjs-node but neither is installed; run npm install @tensorflow\/tfjs-node-gpu@4\.22\.0$/,
    );
  }
});

test('tensorflow', async () => {
  const installed = process.env.WHITTLE_TENSORFLOW;
  if (installed) process.chdir(installed);
  else installPackage('@tensorflow/tfjs-node', standIn);
  console.log(`\nNOTE: device "tensorflow" with ${installed ?? 'a stand-in package'}`);
  await compare('tensorflow', installed ? /^tensorflow: @tensorflow\/tfjs-node/ : /^tensorflow: .*tfjs-node on a GPU$/);
});

test('bfloat16 is for the native kernels alone', async () => {
  const options = { stages, device: 'javascript', precision: 'bfloat16' } as const;
  await expectError(
    () => finetune(textModel, options, testContext(textDataset(4))),
    'BAD_OPTION',
    /^precision: expected "auto" or "float32" with device "javascript" but found "bfloat16"$/,
  );
});

test.run();
