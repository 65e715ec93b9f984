/** Predictors and evaluation on real checkpoints: small random BERTs with a head each. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Worker } from 'node:worker_threads';
import type { Dataset, Split, TextRow } from '../../../lib/data/dataset.js';
import { raggedBatch } from '../../../lib/data/batch.js';
import { loadTokenizer } from '../../../lib/data/tokenizer/tokenizer.js';
import { evaluate, evaluateStep } from '../../../lib/evaluate/evaluate.js';
import { openCheckpoint } from '../../../lib/models/checkpoint.js';
import { Engine } from '../../../lib/models/engine.js';
import { softmax } from '../../../lib/predict/predictions.js';
import { Predictor } from '../../../lib/predict/predictor.js';
import type { ProgressEvent, StepContext } from '../../../lib/step.js';
import { expectError, root, temporaryFolder } from '../../harness.js';

const texts = join(root, 'test/fixtures/tiny-bert');
const entities = join(root, 'test/fixtures/tiny-bert-tokens');
const labels = ['activate card', 'lost card', 'top up'];

const words = ['card', 'money', 'my', 'is', 'not', 'lost', 'pay', 'when', 'account', 'top', 'up', 'zebra', 'ü', '?'];
const sentences = Array.from({ length: 60 }, (_, index) =>
  Array.from(
    { length: 1 + ((index * 5) % 23) },
    (_, word) => words[(index * 7 + word * (index + 3)) % words.length],
  ).join(' '),
);

test('probabilities are the softmax of the engine run text by text', async () => {
  await using predictor = await Predictor.load(texts);
  await using engine = await Engine.load(await openCheckpoint(texts));
  const tokenizer = await loadTokenizer(texts);
  const predictions = await predictor.predict(sentences, { allScores: true });
  for (const [index, text] of sentences.entries()) {
    const logits = await engine.run(raggedBatch([tokenizer.encode(text)]), { output: 'logits' });
    const { label, score, scores } = predictions[index]!;
    assert.equal(Object.values(scores), [...softmax(logits)], text);
    assert.is(score, Math.max(...Object.values(scores)));
    assert.is(scores[label!], score);
  }
  assert.equal(Object.keys(predictions[0]!.scores), labels);
});

for (const [folder, task] of [
  [texts, 'text-classification'],
  [entities, 'token-classification'],
] as const) {
  test(`${task}: one by one, in batches of any size, as a stream, on any number of threads: the same`, async () => {
    await using single = await Predictor.load(folder, { task: 'any', threads: 1 });
    assert.is(single.task, task);
    const expected = [];
    for (const text of sentences) expected.push(await single.predict(text));
    for (const options of [{ batchTokens: 1 }, { batchTokens: 100, threads: 2 }, { threads: 3 }, {}]) {
      await using predictor = await Predictor.load(folder, { task: 'any', ...options });
      assert.equal(await predictor.predict(sentences), expected);
      const streamed = [];
      for await (const prediction of predictor.predictStream(sentences)) streamed.push(prediction);
      assert.equal(streamed, expected);
      assert.equal(await Promise.all(sentences.map((text) => predictor.predict(text))), expected, 'many calls at once');
    }
  });
}

test('int8 of a floating point checkpoint: close, and the same in any batch', async () => {
  await using exact = await Predictor.load(texts);
  await using int8 = await Predictor.load(texts, { precision: 'int8' });
  assert.equal([exact.info.precision, int8.info.precision], ['float32', 'int8']);
  const [a, b] = [await exact.predict(sentences), await int8.predict(sentences)];
  a.forEach(({ score }, index) => assert.ok(Math.abs(score - b[index]!.score) < 0.2));
  for (const [index, text] of sentences.entries()) assert.equal(await int8.predict(text), b[index]);
});

test('entities have offsets of their text', async () => {
  await using predictor = await Predictor.load(entities, { task: 'token-classification' });
  let found = 0;
  for (const text of sentences) {
    const { entities: inText } = await predictor.predict(text);
    const { entities: inWords, tags } = await predictor.predict({ tokens: text.split(' ') });
    assert.equal(
      inText.map((entity) => [entity.type, entity.score, entity.text]),
      inWords.map((entity) => [entity.type, entity.score, entity.text]),
    );
    assert.is(tags.length, text.split(' ').length);
    for (const { start, end, text: part } of inText) assert.is(text.slice(start, end), part);
    found += inText.length;
  }
  assert.ok(found > 20, `${found} entities are too few to test with`);
});

test('disposed while eight calls run: all end well', async () => {
  const predictor = await Predictor.load(texts);
  const expected = await predictor.predict(sentences);
  const running = Array.from({ length: 8 }, () => predictor.predict(sentences));
  await predictor.dispose();
  for (const one of await Promise.all(running)) assert.equal(one, expected);
  await expectError(() => predictor.predict('card'), 'DISPOSED', /after dispose/);
  await expectError(() => predictor.info, 'DISPOSED', /after dispose/);
});

/** Runs predict-worker.ts, for which the worker needs the TypeScript loader first. */
function predictingWorker(rounds: number): Worker {
  const file = new URL('./predict-worker.ts', import.meta.url).href;
  const code = `import('tsx/esm/api').then(({ register }) => { register(); return import(${JSON.stringify(file)}); });`;
  return new Worker(code, { eval: true, workerData: { folder: texts, texts: sentences, rounds } });
}

test('eight worker threads predict at the same time, each with its own predictor', async () => {
  await using predictor = await Predictor.load(texts);
  const expected = await predictor.predict(sentences, { allScores: true });
  const results = await Promise.all(
    Array.from({ length: 8 }, () => {
      const worker = predictingWorker(20);
      return new Promise((resolve, reject) => {
        let message: unknown;
        worker.on('message', (value) => (message = value));
        worker.on('error', reject);
        worker.on('exit', () => resolve(message));
      });
    }),
  );
  for (const result of results) assert.equal(result, expected);
});

test('a worker that is stopped at its work leaves the others be', async () => {
  await using predictor = await Predictor.load(texts);
  const expected = await predictor.predict(sentences);
  const worker = predictingWorker(1e9);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await worker.terminate();
  assert.equal(await predictor.predict(sentences), expected);
});

test('texts of ten megabytes, cut or in windows; lone surrogates', async () => {
  const text = 'lost card and top up. ';
  const long = text.repeat(Math.ceil(10_000_000 / text.length));
  await using predictor = await Predictor.load(texts);
  const [cut, start, ...lone] = await predictor.predict([long, long.slice(0, 400), 'card \ud83d', 'card \ufffd']);
  assert.equal(cut, start);
  assert.equal(lone[0], lone[1]);
  assert.is(predictor.truncatedTexts, 2);
  await using inWindows = await Predictor.load(texts, { longTexts: 'windows' });
  const [whole, alone] = await inWindows.predict([long.slice(0, 1_000_000), text], { allScores: true });
  assert.is(Object.values(whole!.scores).length, labels.length);
  assert.equal(alone, await predictor.predict(text, { allScores: true }));
});

test('the event loop turns while rows are predicted', async () => {
  await using predictor = await Predictor.load(texts, { batchTokens: 256 });
  let turns = 0;
  let isDone = false;
  const count = () => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  await predictor.predict(Array.from({ length: 20_000 }, (_, index) => `card ${index}`));
  isDone = true;
  // Tokenization and batches are some 500 turns if none of them is done on the JavaScript thread.
  assert.ok(turns > 100, `${turns} turns`);
});

test('100,000 texts in one call, an empty one among them', async () => {
  await using predictor = await Predictor.load(texts, { maxLength: 8, emptyText: 'abstain' });
  const many = Array.from({ length: 100_000 }, (_, index) => words[index % 7]!);
  many[70_000] = '';
  const found = await predictor.predict(many);
  assert.is(found.length, many.length);
  assert.equal(found.splice(70_000, 1)[0], { label: null, score: 0 });
  many.splice(70_000, 1);
  const expected = new Map(
    await Promise.all(words.map(async (word) => [word, await predictor.predict(word)] as const)),
  );
  found.forEach((one, index) => {
    const { label, score } = expected.get(many[index]!)!;
    if (one.label !== label || one.score !== score) assert.equal(one, { label, score }, `text ${index}`);
  });
});

test('120,000 rows go through at flat memory', async () => {
  await using predictor = await Predictor.load(texts);
  const memory: number[] = [];
  let seen = 0;
  function* rows() {
    for (let index = 0; index < 120_000; index++) yield `card ${index}`;
  }
  for await (const { label } of predictor.predictStream(rows())) {
    assert.ok(label);
    if (++seen % 40_000 === 0) memory.push(process.memoryUsage().rss / 2 ** 20);
  }
  assert.is(seen, 120_000);
  assert.ok(memory[2]! - memory[0]! < 60, `resident MB: ${memory.map(Math.round).join(', ')}`);
});

function dataset(rows: TextRow[]): Dataset {
  const split = (name: string): Split => ({
    name,
    file: `${name}.jsonl`,
    rows,
    lines: rows.map((_, index) => index + 5),
  });
  return { task: 'text-classification', labels, train: split('train'), dev: split('dev'), test: split('test') };
}

test('evaluate: the scores of the predictions, report, figures', async () => {
  await using predictor = await Predictor.load(texts);
  const predicted = await predictor.predict(sentences);
  const rows = sentences.map((text, index) => ({
    text,
    label: index % 4 ? predicted[index]!.label! : labels[(labels.indexOf(predicted[index]!.label!) + 1) % 3]!,
  }));
  const result = await evaluate(texts, rows, { batchTokens: 100 });
  assert.is(result.metrics.accuracy, 0.75);
  assert.is(result.task, 'text-classification');
  assert.equal([result.on, result.rows, result.truncated, result.precision], ['rows', 60, 0, 'float32']);
  assert.equal(result.labels, labels);
  assert.match(result.report, /accuracy +0\.75 +60/);
  const files = ['config.json', 'golden.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
  assert.is(
    result.bytes,
    files.reduce((sum, name) => sum + readFileSync(join(texts, name)).length, 0),
  );
  assert.ok(result.textsPerSecond > 0);
  const ofDev = await evaluate(texts, dataset(rows), { on: 'dev' });
  assert.equal([ofDev.on, ofDev.metrics], ['dev', result.metrics]);
});

test('evaluate: entities, long rows', async () => {
  await using predictor = await Predictor.load(entities, { task: 'token-classification' });
  const rows = [];
  for (const text of sentences) {
    const tokens = text.split(' ');
    rows.push({ tokens, tags: (await predictor.predict({ tokens })).tags });
  }
  const { metrics, scores } = await evaluate(entities, rows);
  assert.equal([metrics.f1, metrics.precision, metrics.recall, metrics.accuracy, metrics.macroF1], [1, 1, 1, 1, 1]);
  assert.is((scores as { tagAccuracy: number }).tagAccuracy, 1);
  const cut = await evaluate(entities, rows, { maxLength: 8 });
  assert.ok(cut.truncated > 0 && cut.metrics.recall! < 1);
});

test('evaluateStep: metrics, record, progress', async () => {
  const events: ProgressEvent[] = [];
  const rows = sentences.map((text, index) => ({ text, label: labels[index % 3]! }));
  const context: StepContext = {
    data: dataset(rows),
    task: 'text-classification',
    seed: 1,
    folder: temporaryFolder(),
    checkpoints: new Map(),
    threads: 1,
    onProgress: (event) => events.push(event),
    log: () => {},
  };
  const result = await evaluateStep(texts, { on: 'dev' }, context);
  assert.is(result.checkpoint, texts);
  assert.ok(result.metrics.accuracy! > 0 && result.metrics.textsPerSecond! > 0);
  assert.is(result.record.on, 'dev');
  assert.equal(JSON.parse(JSON.stringify(result.record)), result.record, 'plain JSON');
  assert.is(events.at(-1)!.done, 60);
  assert.equal(events.at(-1)!.metrics, result.metrics);
  await expectError(() => evaluateStep(texts, { on: 'tset' as never }, context), 'BAD_OPTION', /evaluate options: on/);
  await expectError(() => evaluateStep(texts, {}, { ...context, signal: AbortSignal.abort() }), 'ABORTED', /Stopped/);
});

test('evaluate: rows that do not fit the model', async () => {
  await expectError(() => evaluate(texts, []), 'BAD_DATA', /expected rows to evaluate on/);
  await expectError(() => evaluate(texts, [{ text: 'card' }]), 'BAD_DATA', /^row 0: expected "label"/);
  await expectError(
    () => evaluate(texts, [{ tokens: ['card'] }]),
    'BAD_DATA',
    /^row 0: expected a row for text-classification/,
  );
  await expectError(
    () => evaluate(texts, dataset([{ text: 'card', label: 'lost cart' }])),
    'BAD_DATA',
    /^test\.jsonl:5: expected one of the model's 3 labels but found "lost cart"; did you mean "lost card"\?/,
  );
  await expectError(
    () => evaluate(texts, [{ text: 'a', label: 'top up' }], { maxLength: 49 }),
    'BAD_OPTION',
    /at most 48/,
  );
});

test('loading what is none', async () => {
  await expectError(
    () => Predictor.load(entities),
    'BAD_OPTION',
    /tiny-bert-tokens: expected a model for text-classification but found one for token-classification/,
  );
  const folder = temporaryFolder();
  for (const name of ['config.json', 'tokenizer.json', 'model.safetensors']) {
    writeFileSync(join(folder, name), readFileSync(join(texts, name)));
  }
  writeFileSync(join(folder, 'model.safetensors'), readFileSync(join(texts, 'model.safetensors')).subarray(0, 5000));
  await expectError(() => Predictor.load(folder), 'BAD_CHECKPOINT', /model\.safetensors/);
  await expectError(() => Predictor.load(texts, { signal: AbortSignal.abort() }), 'ABORTED', /Stopped/);
});

test.run();
