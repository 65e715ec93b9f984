/** What fine-tuning does for each task beside classes: contrastive embeddings, windows of long texts, tuned thresholds. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  finetune,
  loadDataset,
  Predictor,
  stepContext,
  type FinetuneOptions,
  type StepResult,
  type Task,
} from '../../../lib/index.js';
import { useWhittleBackend } from '../../../lib/backend/register.js';
import type { TrainingBatch } from '../../../lib/training/objective.js';
import { generator, normalValues } from '../../../lib/training/random.js';
import { cosineError, multipleNegatives } from '../../../lib/training/task-objectives.js';
import { expectError, root, temporaryFolder } from '../../harness.js';

const tiny = join(root, 'test', 'fixtures', 'tiny-bert');

async function trained(task: Task, rows: object[], options: FinetuneOptions): Promise<StepResult & { folder: string }> {
  const folder = temporaryFolder();
  const text = rows.map((row) => JSON.stringify(row)).join('\n');
  for (const name of ['train', 'dev', 'test']) writeFileSync(join(folder, `${name}.jsonl`), `${text}\n`);
  const data = await loadDataset({ path: folder, task });
  const result = await finetune(tiny, options, stepContext({ data, folder: join(folder, 'finetune'), seed: 13 }));
  return { ...result, folder: result.checkpoint };
}

const settingsIn = (folder: string) =>
  (JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as { whittle: Record<string, unknown> }).whittle;

/** Cosines of the even rows of `[2 * rows, width]` and the odd ones, in double precision. */
function cosinesOf(values: Float32Array, width: number): number[][] {
  const unit = Array.from({ length: values.length / width }, (_, row) => {
    const vector = [...values.subarray(row * width, (row + 1) * width)];
    const length = Math.hypot(...vector);
    return vector.map((value) => value / length);
  });
  const texts = unit.filter((_, row) => row % 2 === 0);
  const pairs = unit.filter((_, row) => row % 2 === 1);
  return texts.map((a) => pairs.map((b) => a.reduce((sum, value, at) => sum + value * b[at]!, 0)));
}

const scores = Float32Array.of(1, 4, 2);
const objectives = {
  multipleNegatives: {
    objective: multipleNegatives(5),
    expected: (cosines: number[][]) =>
      cosines.reduce((sum, row, at) => {
        const total = row.reduce((inner, cosine) => inner + Math.exp(5 * cosine), 0);
        return sum + (Math.log(total) - 5 * row[at]!) / cosines.length;
      }, 0),
  },
  cosine: {
    objective: cosineError([0, 5]),
    expected: (cosines: number[][]) =>
      cosines.reduce((sum, row, at) => sum + (row[at]! - scores[at]! / 5) ** 2 / cosines.length, 0),
  },
};

for (const [name, { objective, expected }] of Object.entries(objectives))
  test(`the loss ${name} and its gradient are those of its formula`, () => {
    useWhittleBackend();
    const width = 7;
    const values = normalValues(6 * width, 1, generator(5));
    const batch = { targets: scores, indices: new Int32Array(6) } as unknown as TrainingBatch;
    const { value, grad } = tf.valueAndGrad((x) => objective(x as tf.Tensor2D, batch))(tf.tensor2d(values, [6, width]));
    assert.ok(Math.abs(value.dataSync()[0]! - expected(cosinesOf(values, width))) < 1e-5);
    grad.dataSync().forEach((slope, at) => {
      const shifted = (by: number) =>
        expected(
          cosinesOf(
            values.map((x, i) => (i === at ? x + by : x)),
            width,
          ),
        );
      const difference = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
      assert.ok(Math.abs(slope - difference) < 2e-3, `${at}: ${slope}, not ${difference}`);
    });
  });

test('contrastive training brings each text next to its own pair', async () => {
  const words = ['lost card', 'top up', 'activate', 'number', 'account', 'money', 'today', 'please'];
  const rows = words.flatMap((word, at) => [
    { text: `${word} ${at}`, textPair: `${at} ${word} help` },
    { text: `my ${word} now`, textPair: `now the ${word}` },
  ]);
  const stages = [{ train: 'all', epochs: 60, learningRate: 2e-3, dropout: 0, evaluateEvery: '10 epochs' }];
  const { folder, metrics, record } = await trained('embedding', rows, { stages, batchSize: 8 });
  const [{ evaluations }] = (record as { stages: { evaluations: { metrics: Record<string, number> }[] }[] }).stages as [
    { evaluations: { metrics: Record<string, number> }[] },
  ];
  assert.ok(metrics.loss! < 0.7 * evaluations[0]!.metrics.loss!, `${evaluations[0]!.metrics.loss} to ${metrics.loss}`);
  assert.ok(metrics.accuracy! > 0.7, `accuracy ${metrics.accuracy}`);
  await using predictor = await Predictor.load(folder, { task: 'embedding', precision: 'float32' });
  const texts = await predictor.predict(rows.map(({ text }) => text));
  const pairs = await predictor.predict(rows.map(({ textPair }) => textPair));
  const nearest = texts.map((vector) => {
    const similarities = pairs.map((pair) => pair.reduce((sum, x, at) => sum + x * vector[at]!, 0));
    return similarities.indexOf(Math.max(...similarities));
  });
  const right = nearest.filter((pair, text) => pair === text).length / rows.length;
  assert.ok(Math.abs(right - metrics.accuracy!) < 1e-6, `${right} by the predictor, ${metrics.accuracy} in training`);
});

test('windows of long texts: more examples than rows, settings kept, scores of merged windows as in prediction', async () => {
  const random = generator(3);
  const rows = Array.from({ length: 24 }, (_, row) => {
    const filler: string[] = Array.from({ length: 12 }, () => (random() < 0.5 ? 'please' : 'now'));
    filler[Math.floor(random() * 12)] = row % 2 ? 'card' : 'money';
    return { text: filler.join(' '), label: row % 2 ? 'card' : 'money' };
  });
  const stages = [{ train: 'all', epochs: 6, learningRate: 2e-3 }];
  const windows = await trained('text-classification', rows, {
    ...{ stages, maxLength: 20, longTexts: 'windows', stride: 5, batchSize: 8 },
  });
  const { trainRows, trainExamples, truncatedRows } = windows.record as Record<string, number>;
  assert.is(trainRows, 24);
  assert.ok(trainExamples! > 2 * 24, `${trainExamples} windows`);
  assert.is(truncatedRows, 0);
  assert.equal(settingsIn(windows.folder), { longTexts: 'windows', maxLength: 20, stride: 5 });
  await using predictor = await Predictor.load(windows.folder, { precision: 'float32' });
  const answers = await predictor.predict(rows.map(({ text }) => text));
  const right = answers.filter(({ label }, row) => label === rows[row]!.label).length / rows.length;
  assert.ok(Math.abs(right - windows.metrics.accuracy!) < 1e-6, `${right}, in training ${windows.metrics.accuracy}`);
});

test('entities beyond maxLength are learned and found in windows alone', async () => {
  const rows = Array.from({ length: 24 }, (_, row) => {
    const tokens = Array.from({ length: 14 }, (_, at) => (at === 3 + (row % 10) ? 'card' : 'please'));
    return { tokens, tags: tokens.map((token) => (token === 'card' ? 'B-ITEM' : 'O')) };
  });
  const options: FinetuneOptions = {
    stages: [{ train: 'all', epochs: 30, learningRate: 5e-3, dropout: 0 }],
    ...{ maxLength: 16, batchSize: 8 },
  };
  const cut = await trained('token-classification', rows, options);
  const whole = await trained('token-classification', rows, { ...options, longTexts: 'windows', stride: 4 });
  assert.ok((cut.record as Record<string, number>).truncatedRows! > 0);
  assert.ok(whole.metrics.recall! > 0.9, `recall ${whole.metrics.recall}`);
  assert.ok(cut.metrics.recall! < 0.6, `recall ${cut.metrics.recall}`);
});

test('thresholds that are tuned are kept, and score no worse than 0.5', async () => {
  const labels = ['card', 'money', 'help'];
  const rows = Array.from({ length: 40 }, (_, row) => {
    const its = labels.filter((_, label) => (row >> label) % 2 === 1);
    return { text: `${its.join(' ')} please ${row}`, labels: its };
  });
  const stages = [{ train: 'all', epochs: 8, learningRate: 2e-3 }];
  const plain = await trained('multi-label-classification', rows, { stages, batchSize: 8 });
  const tuned = await trained('multi-label-classification', rows, { stages, batchSize: 8, threshold: 'tune' });
  assert.ok(tuned.metrics.macroF1! >= plain.metrics.macroF1!);
  assert.is((settingsIn(tuned.folder).thresholds as number[]).length, 3);
});

test('options that would have no effect on the task are refused', async () => {
  const stages = [{ train: 'all', epochs: 1, learningRate: 1e-3 }];
  const texts = [
    { text: 'x', label: 'a' },
    { text: 'y', label: 'b' },
  ];
  const pairs = texts.map((row) => ({ ...row, textPair: 'z' }));
  const scored = pairs.map(({ text, textPair }, at) => ({ text, textPair, label: at }));
  const refused = (task: Task, rows: object[], options: Omit<FinetuneOptions, 'stages'>, message: RegExp) =>
    expectError(() => trained(task, rows, { stages, ...options }), 'BAD_OPTION', message);
  await refused('text-classification', pairs, { longTexts: 'windows' }, /^longTexts: expected "truncate" for pairs/);
  await refused('text-classification', texts, { stride: 3 }, /^stride: expected "longTexts: windows" beside it/);
  await refused('text-classification', texts, { labelPieces: 'all' }, /^labelPieces: expected none for text-class/);
  await refused('text-classification', texts, { threshold: 0.3 }, /^threshold: expected none for text-classification/);
  await refused('embedding', scored, { longTexts: 'windows' }, /^longTexts: expected none for embedding/);
  await refused(
    'embedding',
    scored,
    { embedding: { loss: 'multipleNegatives' } },
    /^embedding\.positiveFrom: expected/,
  );
});

test.run();
