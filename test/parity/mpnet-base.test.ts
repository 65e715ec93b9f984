/**
 * The 12-layer MPNet with int8 weights that lies beside the checkout on the maintainers' machines, against Transformers.
 * The golden file is made by test/fixtures/make_mpnet_base.py.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { quantize } from '../../lib/compress/quantize.js';
import { raggedBatch, type Example } from '../../lib/data/batch.js';
import type { TextRow } from '../../lib/data/dataset.js';
import { loadDataset } from '../../lib/data/load.js';
import { loadTokenizer } from '../../lib/data/tokenizer/tokenizer.js';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { Engine, type EngineOptions } from '../../lib/models/engine.js';
import { Predictor } from '../../lib/predict/predictor.js';
import { finetune } from '../../lib/training/finetune.js';
import { root, sharedFolder, skip, temporaryFolder } from '../harness.js';

const folder = sharedFolder('models/mpnet-base');
const absent = '../shared/models/mpnet-base is not there';
const width = 768;

const golden = JSON.parse(readFileSync(join(root, 'test/fixtures/mpnet-base.golden.json'), 'utf8')) as {
  texts: string[];
  inputIds: number[][];
  first: string;
  mean: string;
};
const floats = (key: 'first' | 'mean') => new Float32Array(new Uint8Array(Buffer.from(golden[key], 'base64')).buffer);
const examples: Example[] = golden.inputIds.map((ids) => ({
  inputIds: Int32Array.from(ids),
  tokenTypeIds: new Int32Array(ids.length),
}));

/** Each sequence's first state and the mean of its states. */
async function states(options: EngineOptions): Promise<{ first: Float32Array; mean: Float32Array }> {
  await using engine = await Engine.load(await openCheckpoint(folder!), options);
  const batch = raggedBatch(examples);
  const hidden = await engine.run(batch, { output: 'hidden' });
  const [first, mean] = [new Float32Array(examples.length * width), new Float32Array(examples.length * width)];
  for (let s = 0; s < examples.length; s++) {
    const [begin, end] = [batch.offsets[s]!, batch.offsets[s + 1]!];
    first.set(hidden.subarray(begin * width, (begin + 1) * width), s * width);
    for (let c = 0; c < width; c++) {
      let sum = 0;
      for (let t = begin; t < end; t++) sum += hidden[t * width + c]!;
      mean[s * width + c] = sum / (end - begin);
    }
  }
  return { first, mean };
}

function smallestCosine(a: Float32Array, b: Float32Array): number {
  let smallest = 1;
  for (let s = 0; s < a.length; s += width) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = s; i < s + width; i++) {
      ab += a[i]! * b[i]!;
      aa += a[i]! * a[i]!;
      bb += b[i]! * b[i]!;
    }
    smallest = Math.min(smallest, ab / Math.sqrt(aa * bb));
  }
  return smallest;
}

test('token ids are those of Transformers', async () => {
  if (!folder) return skip(absent);
  const tokenizer = await loadTokenizer(folder);
  golden.texts.forEach((text, at) => assert.equal([...tokenizer.encode(text).inputIds], golden.inputIds[at], text));
  const pair = tokenizer.encode('lost card', { textPair: 'a top-up' });
  assert.equal([...pair.inputIds.subarray(0, 5)], [0, ...tokenizer.encode('lost card').inputIds.subarray(1, 3), 2, 2]);
});

test('float32 hidden states are within 1e-3 of Transformers', async () => {
  if (!folder) return skip(absent);
  const found = await states({ precision: 'float32' });
  for (const key of ['first', 'mean'] as const) {
    const expected = floats(key);
    const largest = found[key].reduce((most, one, at) => Math.max(most, Math.abs(one - expected[at]!)), 0);
    console.log(`largest difference of the ${key} states: ${largest.toExponential(2)}`);
    assert.ok(largest <= 1e-3, `${key}: ${largest}`);
  }
});

for (const precision of ['bfloat16', 'int8'] as const)
  test(`${precision}: sentence vectors have a cosine of 0.998 to Transformers'`, async () => {
    if (!folder) return skip(absent);
    try {
      const cosine = smallestCosine((await states({ precision })).mean, floats('mean'));
      console.log(`smallest cosine of the sentence vectors at ${precision}: ${cosine.toFixed(6)}`);
      assert.ok(cosine >= 0.998, `cosine ${cosine}`);
    } catch (error) {
      if ((error as { code?: string }).code !== 'UNSUPPORTED') throw error;
      skip((error as Error).message);
    }
  });

test('is fine-tuned, quantized, and predicts', async () => {
  const data = sharedFolder('data/banking77');
  if (!folder || !data) return skip(absent);
  const whole = await loadDataset({ path: data });
  const chosen = whole.labels.slice(0, 2);
  const some = (split: typeof whole.train, each: number) => {
    const kept = chosen.flatMap((label) =>
      split.rows.flatMap((row, at) => ((row as TextRow).label === label ? [at] : [])).slice(0, each),
    );
    return { ...split, rows: kept.map((at) => split.rows[at]!), lines: kept.map((at) => split.lines[at]!) };
  };
  const small = {
    ...whole,
    labels: chosen,
    train: some(whole.train, 32),
    dev: some(whole.dev, 4),
    test: some(whole.test, 40),
  };
  const temporary = temporaryFolder();
  const context = {
    data: small,
    task: small.task,
    seed: 13,
    checkpoints: new Map<string, string>(),
    threads: 0,
    log: () => {},
  };
  const stages = [{ train: 'all' as const, steps: 8, learningRate: 5e-5 }];
  const trained = await finetune(folder, { stages, batchSize: 8 }, { ...context, folder: join(temporary, 'finetune') });
  const quantized = await quantize(trained.checkpoint, {}, { ...context, folder: join(temporary, 'quantize') });
  const texts = small.test.rows.map((row) => (row as TextRow).text);
  const answers: string[][] = [];
  for (const checkpoint of [trained.checkpoint, quantized.checkpoint]) {
    await using predictor = await Predictor.load(checkpoint);
    answers.push((await predictor.predict(texts)).map(({ label }) => label!));
  }
  const right = answers[0]!.filter((label, at) => label === (small.test.rows[at] as TextRow).label).length;
  const same = answers[0]!.filter((label, at) => label === answers[1]![at]).length;
  console.log(`${right} of ${texts.length} right after 8 steps; int8 agrees on ${same}`);
  assert.ok(right >= 0.85 * texts.length, `${right} of ${texts.length}`);
  assert.ok(same >= 0.95 * texts.length, `${same} of ${texts.length}`);
});

test.run();
