/** The finetune step on a slice of real data with the real small encoder. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { TextRow } from '../../../lib/data/dataset.js';
import { loadDataset } from '../../../lib/data/load.js';
import { openCheckpoint } from '../../../lib/models/checkpoint.js';
import type { ProgressEvent, StepContext } from '../../../lib/step.js';
import { devMetricsFor } from '../../../lib/training/dev-metrics.js';
import { predictLogits } from '../../../lib/training/dev.js';
import { finetune } from '../../../lib/training/finetune.js';
import { openSession } from '../../../lib/training/session.js';
import { expectError, sharedFolder, skip, temporaryFolder } from '../../harness.js';

const encoder = sharedFolder('models/minilm-l6');
const intents = sharedFolder('data/banking77');
const entities = sharedFolder('data/wnut17');

async function contextFor(path: string, limit: number): Promise<StepContext & { events: ProgressEvent[] }> {
  const data = await loadDataset({ path });
  const { task } = data;
  if (task === 'text-classification') data.labels = ['card_arrival', 'exchange_rate', 'lost_or_stolen_card'];
  for (const [split, count] of [
    [data.train, limit],
    [data.dev, 30],
    [data.test, 30],
  ] as const) {
    const kept = (split.rows as TextRow[]).flatMap(({ label }, row) =>
      !label || data.labels.includes(label) ? [row] : [],
    );
    const chosen = kept.filter((_, place) => place % Math.max(1, Math.floor(kept.length / count)) === 0);
    split.lines = chosen.map((row) => split.lines[row]!);
    split.rows = chosen.map((row) => split.rows[row]!);
  }
  const events: ProgressEvent[] = [];
  return {
    ...{ data, task, seed: 13, folder: join(temporaryFolder(), 'finetune') },
    ...{ checkpoints: new Map(), threads: 0, log: () => {}, onProgress: (event) => events.push(event), events },
  };
}

test('text classification: learns, writes a checkpoint, and goes on from it', async () => {
  if (!encoder || !intents) return skip('no ../shared/models/minilm-l6 or ../shared/data/banking77');
  const context = await contextFor(intents, 120);
  const stages = [
    { train: 'head', epochs: 8, learningRate: 3e-3 },
    { train: ['layers.5', 'head'], epochs: 1, learningRate: 2e-4, earlyStopping: { metric: 'accuracy', patience: 2 } },
  ];
  const result = await finetune(encoder, { stages, maxLength: 48 }, context);
  assert.is(result.checkpoint, context.folder);
  assert.ok(result.metrics.accuracy! >= 0.9, `dev accuracy ${result.metrics.accuracy}`);
  const written = await openCheckpoint(context.folder);
  assert.equal(written.head, { task: 'text-classification', labels: context.data.labels });

  // The written weights have the score that was reported, and its head is kept when training goes on.
  const { data } = context;
  const session = await openSession(context.folder, { data, seed: 99, maxLength: 48 });
  const logits = await predictLogits(session.model, session.devExamples);
  const metrics = await devMetricsFor(data.dev, session.devExamples, session.model.head)(logits);
  session.model.dispose();
  assert.is(metrics.accuracy, result.metrics.accuracy);
});

test('token classification: the loss falls and entities are scored', async () => {
  if (!encoder || !entities) return skip('no ../shared/models/minilm-l6 or ../shared/data/wnut17');
  const context = await contextFor(entities, 150);
  const stages = [{ train: 'all', epochs: 2, learningRate: 3e-4 }];
  const { metrics, record } = await finetune(encoder, { stages, batchSize: 16, maxLength: 64 }, context);
  const [stage] = record.stages as { evaluations: { metrics: Record<string, number> }[] }[];
  assert.ok(stage!.evaluations[1]!.metrics.loss! < stage!.evaluations[0]!.metrics.loss!);
  for (const name of ['f1', 'precision', 'recall', 'macroF1', 'accuracy'])
    assert.ok(metrics[name]! >= 0 && metrics[name]! <= 1, name);
});

test('bad options leave nothing behind', async () => {
  if (!encoder || !intents) return skip('no ../shared/models/minilm-l6 or ../shared/data/banking77');
  const context = await contextFor(intents, 40);
  const stage = { train: 'head', epochs: 1, learningRate: 1e-3 };
  const bad = (options: object) => () => finetune(encoder, { stages: [stage], ...options }, context);
  await expectError(
    bad({ maxLength: 600 }),
    'BAD_OPTION',
    /maxLength: expected at most the model's 512 tokens but found 600/,
  );
  await expectError(bad({ batchsize: 3 }), 'BAD_OPTION', /unknown key "batchsize"; did you mean "batchSize"\?/);
  await expectError(
    bad({ stages: [{ ...stage, train: 'layers.6' }] }),
    'BAD_OPTION',
    /"layers.6" names a layer .* it has 6 layers/,
  );
  await expectError(
    bad({ stages: [{ ...stage, earlyStopping: { metric: 'accurracy' } }] }),
    'BAD_OPTION',
    /no dev metric "accurracy"; did you mean "accuracy"\?/,
  );
  assert.not(existsSync(context.folder));
});

/** The encoder with a bias that the forward pass overflows with, or that is no number to begin with. */
async function spoiled(context: StepContext, value: number): Promise<string> {
  const folder = join(temporaryFolder(), 'spoiled');
  const session = await openSession(encoder!, { data: context.data, seed: 1 });
  const bias = session.model.parameters.get('layers.4.output.norm.bias')!;
  bias.assign(tf.tensor([value, ...new Array<number>(bias.size - 1).fill(0)]));
  await session.write(folder);
  session.model.dispose();
  return folder;
}

test('a model that is not finite to begin with is reported as such', async () => {
  if (!encoder || !intents) return skip('no ../shared/models/minilm-l6 or ../shared/data/banking77');
  const context = await contextFor(intents, 40);
  await expectError(
    async () =>
      finetune(await spoiled(context, NaN), { stages: [{ train: 'all', epochs: 1, learningRate: 1e-4 }] }, context),
    'BAD_CHECKPOINT',
    /^the model that training starts from: expected finite weights but found NaN at element 0 of layers\.4\.output\.norm\.bias$/,
  );
});

test('a loss that is not finite is an error, and the last good weights are kept', async () => {
  if (!encoder || !intents) return skip('no ../shared/models/minilm-l6 or ../shared/data/banking77');
  const context = await contextFor(intents, 40);
  const stages = [{ train: 'all', epochs: 1, learningRate: 1e-4 }];
  await expectError(
    async () => finetune(await spoiled(context, 3e38), { stages }, context),
    'DIVERGED',
    /the loss became NaN at step 1 of \d; the stage's learning rate is 1e-4, as scheduled for this step 0; .* kept in .*last-good$/,
  );
  assert.ok(existsSync(join(context.folder, 'last-good', 'model.safetensors')));
  assert.not(existsSync(join(context.folder, 'model.safetensors')));
});

test.run();
