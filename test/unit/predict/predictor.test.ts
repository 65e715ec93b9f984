/** What a predictor makes of an engine's logits, and its life cycle; the engine is a fake one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Task } from '../../../lib/data/dataset.js';
import type { Tokenizer } from '../../../lib/data/tokenizer/tokenizer.js';
import type { PredictorOptions } from '../../../lib/predict/options.js';
import { Predictor } from '../../../lib/predict/predictor.js';
import { expectError } from '../../harness.js';
import { fakeEngine, letterTokenizer, type FakeEngine } from './fake-engine.js';

const classes = ['a', 'b', 'c'];
const tags = ['O', 'B-X', 'I-X', 'B-Y', 'I-Y'];
/** Of 4 against 0 in three and in five classes. */
const [likely, likelyTag] = [Math.exp(4) / (Math.exp(4) + 2), Math.exp(4) / (Math.exp(4) + 4)];

function open<T extends Task>(
  task: T,
  options: PredictorOptions = {},
  delay = 0,
): { predictor: Predictor<T>; engine: FakeEngine } {
  const engine = fakeEngine(task, task === 'text-classification' ? classes : tags, delay);
  return { engine, predictor: new Predictor<T>(engine, letterTokenizer(), { task, ...options }) };
}

const near = (found: number, expected: number) =>
  assert.ok(Math.abs(found - expected) < 1e-7, `${found} is not ${expected}`);

async function* slowly<I>(items: Iterable<I>, milliseconds: number): AsyncGenerator<I> {
  for (const item of items) {
    await sleep(milliseconds);
    yield item;
  }
}

async function collect<R>(stream: AsyncIterable<R>): Promise<R[]> {
  const all: R[] = [];
  for await (const one of stream) all.push(one);
  return all;
}

test('classification: label, score, all scores, threshold, one or many', async () => {
  const { predictor } = open('text-classification');
  const one = await predictor.predict('beg');
  assert.is(one.label, 'b');
  near(one.score, likely);
  assert.is(one.scores, undefined);
  const { scores } = await predictor.predict('cat', { allScores: true });
  assert.equal(Object.keys(scores), classes);
  near(scores.c!, likely);
  near(scores.a! + scores.b! + scores.c!, 1);
  const unsure = await predictor.predict('ace', { threshold: 0.99 });
  assert.is(unsure.label, null);
  near(unsure.score, likely);
  assert.equal(
    (await predictor.predict(['cat', { text: 'ace', textPair: 'b' }, 'b'])).map(({ label }) => label),
    ['c', 'a', 'b'],
  );
  assert.equal(await predictor.predict([]), []);
});

test('the predictor has a threshold that a call may override', async () => {
  const { predictor } = open('text-classification', { threshold: 0.99 });
  assert.is((await predictor.predict('b')).label, null);
  assert.is((await predictor.predict('b', { threshold: 0 })).label, 'b');
});

test('entities of a text: type, score, text and offsets', async () => {
  const { predictor } = open('token-classification');
  // a: O, b: B-X, c: I-X, d: B-Y, e: I-Y
  const text = 'a 😀 be a CAB c\u0301ab d 😀 e';
  const { entities } = await predictor.predict(text);
  assert.equal(
    entities.map(({ type, text: found, start, end }) => [type, found, start, end]),
    [
      ['X', 'be', 5, 7],
      ['X', 'CAB c\u0301ab', 10, 18],
      ['Y', 'd', 19, 20],
      ['Y', 'e', 24, 25],
    ],
  );
  for (const { score, text: found, start, end } of entities) {
    near(score, likelyTag);
    assert.is(text.slice(start, end), found);
  }
  assert.equal((await predictor.predict('b', { threshold: 0.99 })).entities, []);
});

test('entities of words: indices and tags', async () => {
  const { predictor } = open('token-classification');
  const { entities, tags: found } = await predictor.predict({ tokens: ['a', 'b', 'cx', '\u200b', 'dog'] });
  assert.equal(found, ['O', 'B-X', 'I-X', 'O', 'B-Y']);
  assert.equal(
    entities.map(({ type, text, start, end }) => [type, text, start, end]),
    [
      ['X', 'b cx', 1, 3],
      ['Y', 'dog', 4, 5],
    ],
  );
});

test('a tokenizer without offsets takes words only', async () => {
  const inner = letterTokenizer();
  const tokenizer: Tokenizer = {
    hasOffsets: false,
    encode: (text) => inner.encode(text),
    encodeWords: (words) => inner.encodeWords(words),
    encodeBatch: (inputs, options) => inner.encodeBatch(inputs, options),
    encodeBatchAsync: (inputs, options) => inner.encodeBatchAsync(inputs, options),
  };
  const engine = fakeEngine('token-classification', tags);
  const predictor = new Predictor<'token-classification'>(engine, tokenizer, { task: 'token-classification' });
  await expectError(() => predictor.predict('b'), 'UNSUPPORTED', /Expected \{ tokens \}/);
  assert.equal((await predictor.predict({ tokens: ['b'] })).tags, ['B-X']);
});

test('words beyond maxLength are O, and the row counts as truncated', async () => {
  const { predictor } = open('token-classification', { maxLength: 4 });
  const { tags: found } = await predictor.predict({ tokens: ['b', 'd', 'b', 'd'] });
  assert.equal(found, ['B-X', 'B-Y', 'O', 'O']);
  assert.is(predictor.truncatedTexts, 1);
});

test('long texts are cut, or refused on request', async () => {
  const { predictor } = open('text-classification');
  assert.is((await predictor.predict('b'.repeat(90))).label, 'b');
  assert.is(predictor.truncatedTexts, 1);
  const strict = open('text-classification', { longTexts: 'error' }).predictor;
  await expectError(() => strict.predict(['b', 'b'.repeat(90)]), 'BAD_DATA', /^input 1: expected at most 32 tokens/);
});

test('inputs that are none are named by their index', async () => {
  const { predictor } = open('text-classification');
  await expectError(() => predictor.predict(['a', ' ']), 'BAD_DATA', /^input 1: expected a text but found " "$/);
  await expectError(
    () => predictor.predict(['a', 7 as never]),
    'BAD_DATA',
    /^input 1: expected a text or \{ text, textPair \} but found number 7/,
  );
  await expectError(
    () => predictor.predict({ text: 'a', textPair: null as never }),
    'BAD_DATA',
    /"textPair" to be a string but found null/,
  );
  const entities = open('token-classification').predictor;
  await expectError(
    () => entities.predict({ tokens: [] }),
    'BAD_DATA',
    /input 0: expected "tokens" to hold at least one word/,
  );
  await expectError(
    () => entities.predict({ tokens: ['a', 1 as never] }),
    'BAD_DATA',
    /"tokens\[1\]" to be a string but found number 1/,
  );
  await expectError(
    () => entities.predict({ text: 'a' } as never),
    'BAD_DATA',
    /unknown key "text"; expected a text or \{ tokens \}/,
  );
});

test('empty texts get no label on request', async () => {
  const { predictor } = open('text-classification', { emptyText: 'abstain' });
  const found = await predictor.predict(['b', '', 'c'], { allScores: true });
  assert.equal(
    found.map(({ label }) => label),
    ['b', null, 'c'],
  );
  assert.equal(found[1], { label: null, score: 0, scores: { a: 0, b: 0, c: 0 } });
  const entities = open('token-classification', { emptyText: 'abstain' }).predictor;
  assert.equal(await entities.predict(['', { tokens: [] }]), [{ entities: [] }, { entities: [], tags: [] }]);
});

test('options are checked', async () => {
  const { predictor } = open('text-classification');
  await expectError(
    () => predictor.predict('a', { treshold: 1 } as never),
    'BAD_OPTION',
    /unknown key "treshold"; did you mean "threshold"/,
  );
  await expectError(() => predictor.predict('a', { threshold: NaN }), 'BAD_OPTION', /threshold/);
  await expectError(() => open('text-classification', { maxLength: 33 }), 'BAD_OPTION', /at most 32.* but found 33/);
  await expectError(() => open('text-classification', { batchTokens: 0 }), 'BAD_OPTION', /batchTokens/);
  await expectError(
    () => Predictor.load('nowhere', { device: 'gpu' }),
    'BAD_OPTION',
    /device: expected "cpu", "auto", "cuda", "cuda:N" or several/,
  );
  await expectError(() => Predictor.load('/nowhere'), 'BAD_CHECKPOINT', /nowhere/);
  const engine = fakeEngine('token-classification', tags);
  await expectError(
    () => new Predictor(engine, letterTokenizer()),
    'BAD_OPTION',
    /for text-classification but found one for token-classification; ask/,
  );
  await expectError(
    () => new Predictor({ ...engine, head: undefined }, letterTokenizer(), { task: 'any' }),
    'UNSUPPORTED',
    /bare encoder/,
  );
});

test('batches keep to the budget, results to the order', async () => {
  const { predictor, engine } = open('text-classification', { batchTokens: 40 });
  const texts = Array.from({ length: 500 }, (_, index) => 'abc'[index % 3]!.repeat(1 + ((index * 7) % 29)));
  const found = await predictor.predict(texts);
  assert.equal(
    found.map(({ label }) => label),
    texts.map((text) => text[0]),
  );
  assert.is(engine.mostRunning, 1);
  for (const batch of engine.batches) assert.ok(batch.length === 1 || batch.reduce((a, b) => a + b) <= 40);
  assert.equal(
    (await collect(predictor.predictStream(texts))).map(({ label }) => label),
    texts.map((text) => text[0]),
  );
});

test('on a GPU two batches run at a time, from window to window, and results keep their order', async () => {
  const engine = fakeEngine('text-classification', classes, 2);
  Object.assign(engine, { info: { ...engine.info, device: 'cuda:0' } });
  const alone: number[] = [];
  let runs = 0;
  engine.onRun = async () => {
    const run = runs++;
    // The first of a stream runs until another has begun; so does every other but the last.
    for (let turn = 0; engine.running < 2 && turn < 200; turn++) await new Promise(setImmediate);
    if (engine.running < 2) alone.push(run);
  };
  const predictor = new Predictor<'text-classification'>(engine, letterTokenizer(), { batchTokens: 40 });
  const texts = Array.from({ length: 300 }, (_, index) => 'abc'[index % 3]!.repeat(1 + ((index * 7) % 29)));
  for (const call of [
    () => predictor.predict(texts),
    () => collect(predictor.predictStream(texts)),
    async () =>
      (await predictor.predictOutputs(texts.map((text) => letterTokenizer().encode(text)))).map((row) => ({
        label: classes[row.indexOf(4)],
      })),
  ]) {
    engine.mostRunning = runs = alone.length = 0;
    assert.equal(
      (await call()).map(({ label }) => label),
      texts.map((text) => text[0]),
    );
    assert.ok(runs > 50 && engine.mostRunning >= 2 && engine.mostRunning <= 3, `${engine.mostRunning} of ${runs}`);
    assert.ok(
      alone.every((run) => run === runs - 1),
      `batches ${alone} of ${runs} ran alone`,
    );
  }
});

test('outputs come in the order of the examples', async () => {
  const tokenizer = letterTokenizer();
  const encode = (text: string) => tokenizer.encode(text);
  const { predictor } = open('text-classification', { batchTokens: 8 });
  const progress: number[] = [];
  const logits = await predictor.predictOutputs(['b', 'cccc', 'a'].map(encode), {
    onProgress: (done) => progress.push(done),
  });
  assert.equal(
    logits.map((row) => [...row]),
    [
      [0, 4, 0],
      [0, 0, 4],
      [4, 0, 0],
    ],
  );
  assert.equal(progress, [1, 2, 3]);
  const tokens = await open('token-classification', { batchTokens: 8 }).predictor.predictOutputs(
    ['b', 'cc'].map(encode),
  );
  assert.equal(
    tokens.map(({ length }) => length),
    [3 * tags.length, 4 * tags.length],
  );
  assert.equal([...tokens[0]!.subarray(5, 10)], [0, 4, 0, 0, 0]);
  assert.is((await predictor.predictOutputs([])).length, 0);
});

const calls: Record<string, (predictor: Predictor<'text-classification'>) => Promise<unknown>> = {
  predict: (predictor) => predictor.predict('b'),
  'predict many': (predictor) => predictor.predict(['b', 'c']),
  predictStream: (predictor) => collect(predictor.predictStream(['b', 'c'])),
  predictOutputs: (predictor) => predictor.predictOutputs([letterTokenizer().encode('b')]),
  info: async (predictor) => predictor.info,
};

for (const [name, call] of Object.entries(calls)) {
  test(`life cycle: ${name} when open, busy, disposing and disposed`, async () => {
    const { predictor, engine } = open('text-classification', {}, 5);
    const alone = await call(predictor);
    const other = predictor.predict(['a', 'b', 'c']);
    assert.equal(await call(predictor), alone, 'busy');
    const running = call(predictor);
    const disposal = predictor.dispose();
    await expectError(() => call(predictor), 'DISPOSED', /after dispose/);
    if (name !== 'predictStream') assert.equal(await running, alone, 'what ran before dispose ends well');
    else await running.catch((error) => expectError(() => Promise.reject(error), 'DISPOSED', /after dispose/));
    await other;
    await disposal;
    assert.is(engine.disposed, 1);
    await expectError(() => call(predictor), 'DISPOSED', /after dispose/);
    await predictor.dispose();
    assert.is(engine.disposed, 1, 'a second dispose does nothing');
  });
}

test('await using disposes', async () => {
  const { predictor, engine } = open('text-classification');
  {
    await using scoped = predictor;
    await scoped.predict('a');
  }
  assert.is(engine.disposed, 1);
});

test('dispose does not wait for a stream that nobody reads on', async () => {
  const { predictor } = open('text-classification', { batchTokens: 4 });
  const stream = predictor.predictStream(slowly(Array(100).fill('b'), 1));
  assert.is((await stream.next()).done, false);
  await predictor.dispose();
  await expectError(() => collect(stream), 'DISPOSED', /after dispose/);
});

test('an abort ends calls and streams, and the predictor goes on', async () => {
  const { predictor } = open('text-classification', { batchTokens: 8 }, 2);
  const texts = Array<string>(1000).fill('b');
  for (const run of [
    (signal: AbortSignal) => predictor.predict(texts, { signal }),
    (signal: AbortSignal) => collect(predictor.predictStream(texts, { signal })),
    (signal: AbortSignal) => collect(predictor.predictStream(slowly(texts, 1), { signal })),
    (signal: AbortSignal) => predictor.predictOutputs(Array(1000).fill(letterTokenizer().encode('b')), { signal }),
  ]) {
    const controller = new AbortController();
    const work = run(controller.signal);
    setTimeout(() => controller.abort(), 20);
    await expectError(() => work, 'ABORTED', /Stopped/);
    await expectError(() => run(AbortSignal.abort()), 'ABORTED', /Stopped/);
  }
  assert.is((await predictor.predict('b')).label, 'b');
});

test('what is no stream of inputs, and what are no examples, are refused', async () => {
  const { predictor } = open('text-classification');
  for (const inputs of [undefined, null, 'a text', 5, {}, Promise.resolve(['a'])])
    await expectError(
      () => collect(predictor.predictStream(inputs as never)),
      'BAD_OPTION',
      /predictStream: expected an iterable of inputs, .* but found/,
    );
  assert.is((await collect(predictor.predictStream(new Set(['a', 'b'])))).length, 2);
  const ids = new Int32Array([1, 2]);
  const cases: [unknown, RegExp][] = [
    [undefined, /predictOutputs: expected an array of examples but found none/],
    [[{}], /example 0: expected inputIds, an Int32Array, but found none/],
    [[{ inputIds: [1, 2] }], /example 0: expected inputIds, an Int32Array, but found an array of 2/],
    [[{ inputIds: ids, tokenTypeIds: ids.subarray(1) }], /example 0: expected tokenTypeIds, an Int32Array of 2/],
  ];
  for (const [examples, message] of cases)
    await expectError(() => predictor.predictOutputs(examples as never), 'BAD_OPTION', message);
});

test('what is no name of a folder is refused', async () => {
  for (const folder of [undefined, null, 5, '', []])
    await expectError(
      () => Predictor.load(folder as never),
      'BAD_OPTION',
      /^Expected the folder of a checkpoint but found/,
    );
});

test.run();
