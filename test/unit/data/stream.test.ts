/** Train rows that are never held: the splits, the examples on the disk, and training on them. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { finetune, loadDataset, stepContext } from '../../../lib/index.js';
import type { Example } from '../../../lib/data/batch.js';
import { placeOf, type Row } from '../../../lib/data/dataset.js';
import { textKey } from '../../../lib/data/split.js';
import { StoredExamples } from '../../../lib/data/stored-examples.js';
import { sampleStream } from '../../../lib/data/streamed-rows.js';
import { openCheckpoint } from '../../../lib/models/checkpoint.js';
import { expectError, root, temporaryFolder } from '../../harness.js';

const model = join(root, 'test', 'fixtures', 'tiny-bert');

function dataFile(name: string, rows: readonly object[]): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path;
}

const rows = Array.from({ length: 400 }, (_, index) => ({
  text: `${index % 2 ? 'lost card' : 'top up'} ${index % 90}${index % 3 ? '' : ' '}`,
  label: index % 2 ? 'lost' : 'top',
  user: `u${index % 37}`,
}));

async function gathered(read: () => AsyncIterable<{ row: Row; place: string }>) {
  const found: { row: Row; place: string }[] = [];
  for await (const one of read()) found.push(one);
  return found;
}

test('every row is in one split, equal texts in the same, and each reading gives the same rows', async () => {
  const path = dataFile('all.jsonl', rows);
  const data = await loadDataset({ path, stream: true });
  const train = await gathered(data.train.source!.read);
  assert.equal(await gathered(data.train.source!.read), train);
  assert.is(data.train.source!.count, train.length);
  assert.is(data.train.rows.length, 0);
  assert.equal(data.labels, ['lost', 'top']);
  assert.is(train.length + data.dev.rows.length + data.test.rows.length, rows.length);
  assert.ok(train.length > 260 && data.dev.rows.length > 10 && data.test.rows.length > 10, `${train.length}`);
  const keys = [train.map(({ row }) => row), data.dev.rows, data.test.rows].map((part) => new Set(part.map(textKey)));
  for (const key of keys[0]!) assert.not.ok(keys[1]!.has(key) || keys[2]!.has(key), key);
  const [first] = train;
  assert.equal(
    { ...rows[Number(first!.place.split(':').at(-1)) - 1], user: undefined }.text,
    (first!.row as { text: string }).text,
  );
  assert.match(placeOf(data.dev, 0), /all\.jsonl:\d+$/);
  const again = await loadDataset({ path, stream: true, seed: 5 });
  assert.not.equal(again.train.source!.hash, data.train.source!.hash);
});

test('groups stay together, limits keep the first rows of dev and test', async () => {
  const path = dataFile('all.jsonl', rows);
  const data = await loadDataset({ path, stream: true, split: { groupBy: 'user' }, limit: { dev: 5 } });
  assert.is(data.dev.rows.length, 5);
  const userOf = (place: string) => rows[Number(place.split(':').at(-1)) - 1]!.user;
  const train = new Set((await gathered(data.train.source!.read)).map(({ place }) => userOf(place)));
  for (const [index] of data.test.rows.entries()) assert.not.ok(train.has(userOf(placeOf(data.test, index))));
});

test('what does not go with streaming is refused', async () => {
  const path = dataFile('all.jsonl', rows);
  for (const [options, message] of [
    [{ limit: 10 }, /no "limit" of train rows beside "stream: true"/],
    [{ split: { stratified: true } }, /no "stratified: true" beside "stream: true"/],
    [{ task: 'embedding' }, /no "stream: true" for the task embedding/],
  ] as const)
    await expectError(() => loadDataset({ path, stream: true, ...options }), 'BAD_OPTION', message);
  const bad = dataFile('bad.jsonl', [...rows, { text: 'x', label: 3 }]);
  await expectError(() => loadDataset({ path: bad, stream: true }), 'BAD_DATA', /bad\.jsonl:401: expected "label"/);
});

test('a label outside of those given is told by the first reading, with file and line', async () => {
  const odd = rows.map((row, index) => (index === 300 ? { ...row, label: 'lots' } : row));
  const path = dataFile('odd.jsonl', odd);
  await expectError(
    () =>
      loadDataset({
        train: path,
        dev: dataFile('dev.jsonl', rows),
        stream: true,
        split: { train: 1 },
        labels: ['lost', 'top'],
      }),
    'BAD_DATA',
    /odd\.jsonl:301: expected one of the 2 labels of "labels" but found "lots" \(train\); did you mean "lost"\?$/,
  );
});

test('a sample of a stream is drawn by the seed from all of it', async () => {
  const { train } = await loadDataset({ path: dataFile('all.jsonl', rows), stream: true });
  const sample = await sampleStream(train.source!, 50, 3);
  assert.equal(await sampleStream(train.source!, 50, 3), sample);
  assert.not.equal(await sampleStream(train.source!, 50, 4), sample);
  assert.is((await sampleStream(train.source!, 5000, 3)).length, train.source!.count);
});

test('examples come back from the disk as they were, by number, in slices and in order, and leave no file', async () => {
  const examples: Example[] = Array.from({ length: 2500 }, (_, index) => {
    const inputIds = Int32Array.from({ length: 1 + (index % 300) }, (_, at) => (index * 31 + at) % 5000);
    const example: Example = { inputIds, tokenTypeIds: new Int32Array(inputIds.length) };
    if (index % 5 === 0) example.tokenTypeIds.fill(1, 1);
    if (index % 3 === 0) example.label = index % 7;
    if (index % 4 === 0) example.tokenLabels = inputIds.map((id) => (id % 2 ? -100 : id % 9));
    if (index % 6 === 0) example.target = Float32Array.of(index / 3, -1);
    return example;
  });
  const folder = temporaryFolder();
  async function* batches() {
    for (let at = 0; at < examples.length; at += 700) yield examples.slice(at, at + 700);
  }
  const stored = await StoredExamples.write(batches(), folder);
  assert.equal(readdirSync(folder), []);
  assert.is(stored.length, examples.length);
  assert.equal([...stored], examples);
  for (const index of [0, 699, 700, 2499]) assert.equal(stored.at(index), examples[index]);
  assert.is(stored.at(2500), undefined);
  assert.equal(stored.slice(2490, 3000), examples.slice(2490));
  assert.equal(
    [...stored.vocabulary],
    [...new Set(examples.flatMap(({ inputIds }) => [...inputIds]))].sort((a, b) => a - b),
  );
  stored.close();
});

for (const task of ['text-classification', 'token-classification'] as const)
  test(`${task}: training on streamed rows gives the weights of the same rows in memory, bit for bit`, async () => {
    const folder = temporaryFolder();
    const ofTask =
      task === 'text-classification'
        ? rows
        : rows.map(({ text }) => {
            const tokens = text.trim().split(' ');
            return { tokens, tags: tokens.map((token) => (token === 'card' ? 'B-THING' : 'O')) };
          });
    mkdirSync(join(folder, 'data'));
    for (const name of ['train', 'dev', 'test'])
      writeFileSync(join(folder, 'data', `${name}.jsonl`), ofTask.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const weights = async (stream: boolean) => {
      const data = await loadDataset({ path: join(folder, 'data'), task, stream });
      const context = stepContext({ folder: join(folder, `model-${stream}`), data, seed: 3 });
      const stages = [
        { train: 'head', epochs: 1, learningRate: 1e-2 },
        { train: 'all', epochs: 1, learningRate: 1e-3, groupByLength: true },
      ];
      const { record } = await finetune(model, { stages, batchSize: 16 }, context);
      assert.is(record.trainRows, rows.length);
      return (await openCheckpoint(join(folder, `model-${stream}`))).readParameters();
    };
    const [held, streamed] = [await weights(false), await weights(true)];
    for (const [name, { data }] of held) assert.equal(streamed.get(name)!.data, data, name);
    assert.equal(readdirSync(folder).sort(), ['data', 'model-false', 'model-true']);
  });

test('tokenizing tells how far it is, and stops at the signal', async () => {
  const many = Array.from({ length: 2500 }, (_, index) => rows[index % rows.length]!);
  const data = await loadDataset({
    train: dataFile('train.jsonl', many),
    dev: dataFile('dev.jsonl', rows),
    stream: true,
    split: { train: 1 },
  });
  const told: (number | string)[][] = [];
  const controller = new AbortController();
  const folder = join(temporaryFolder(), 'out');
  const context = stepContext({
    data,
    folder,
    signal: controller.signal,
    onProgress: ({ phase, done, total, unit }) => {
      told.push([phase, done, total, unit]);
      if (done === 2000) controller.abort();
    },
  });
  const stages = [{ train: 'head', steps: 1, learningRate: 1e-3 }];
  await expectError(() => finetune(model, { stages }, context), 'ABORTED', /tokenizing was stopped/);
  assert.equal(told, [
    ['tokenizing', 1000, 2500, 'row'],
    ['tokenizing', 2000, 2500, 'row'],
  ]);
  assert.equal(readdirSync(join(folder, '..')), [], 'no file of token ids is left');
});

test.run();
