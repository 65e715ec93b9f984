/** Datasets: which files, splits, labels. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Dataset, Row, TextRow } from '../../../lib/data/dataset.js';
import { loadDataset } from '../../../lib/data/load.js';
import { seededRandom } from '../../../lib/data/random.js';
import { sampleRows, splitRows } from '../../../lib/data/split.js';
import { expectError, sharedFolder, skip, temporaryFolder } from '../../harness.js';

const text = (label: string, content: string) => JSON.stringify({ text: content, label });
const words = (tokens: string[], tags: string[]) => JSON.stringify({ tokens, tags });

function makeFolder(files: Record<string, string[]>): string {
  const folder = temporaryFolder();
  for (const [name, lines] of Object.entries(files)) writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
  return folder;
}

const labelled = (count: number, labels = ['a', 'b', 'c']) =>
  Array.from({ length: count }, (_, index) => text(labels[index % labels.length]!, `text ${index}`));
const sizes = ({ train, dev, test: held }: Dataset) => [train, dev, held].map(({ rows }) => rows.length);
const textsOf = (rows: Row[]) => rows.map((row) => (row as TextRow).text);

test('a folder with three files; lines and labels', async () => {
  const path = makeFolder({
    'train.jsonl': [text('b', 'one'), '', text('a', 'two')],
    'dev.jsonl': [text('a', 'three')],
    'test.csv': ['text,label', 'four,b'],
  });
  const data = await loadDataset({ path });
  assert.is(data.task, 'text-classification');
  assert.equal(data.labels, ['a', 'b']);
  assert.equal(data.train, {
    name: 'train',
    file: join(path, 'train.jsonl'),
    rows: [
      { text: 'one', label: 'b' },
      { text: 'two', label: 'a' },
    ],
    lines: [1, 3],
  });
  assert.equal([data.dev.name, data.test.name, data.test.file], ['dev', 'test', join(path, 'test.csv')]);
});

test('entity labels: O, then B and I by type', async () => {
  const path = makeFolder({
    'train.jsonl': [words(['a', 'b'], ['B-Z', 'O']), words(['c'], ['B-A'])],
    'validation.jsonl': [words(['a'], ['O'])],
    'test.conll': ['x I-Z'],
  });
  const data = await loadDataset({ path });
  assert.is(data.task, 'token-classification');
  assert.equal(data.labels, ['O', 'B-A', 'I-A', 'B-Z', 'I-Z']);
  assert.equal(data.test.rows, [{ tokens: ['x'], tags: ['B-Z'] }]);
});

test('one file is split 80/10/10: stratified, seeded, every row once', async () => {
  const path = join(makeFolder({ 'all.jsonl': labelled(300) }), 'all.jsonl');
  const data = await loadDataset({ path });
  assert.equal(sizes(data), [240, 30, 30]);
  for (const { rows } of [data.dev, data.test]) {
    for (const label of data.labels) {
      const count = rows.filter((row) => (row as TextRow).label === label).length;
      assert.ok(Math.abs(count - 10) <= 2, `${count} rows of ${label}`);
    }
  }
  const all = [data.train, data.dev, data.test].flatMap(({ rows }) => textsOf(rows));
  assert.is(new Set(all).size, 300);
  assert.equal(await loadDataset({ path }), data, 'the same seed splits alike');
  assert.not.equal((await loadDataset({ path, seed: 14 })).dev.rows, data.dev.rows);
  assert.equal(sizes(await loadDataset({ path, split: { train: 0.5, dev: 0.5, test: 0 } })), [150, 150, 0]);
});

test('what is missing is taken out of train by its share', async () => {
  const path = makeFolder({ 'train.jsonl': labelled(90), 'test.jsonl': labelled(7) });
  assert.equal(sizes(await loadDataset({ path })), [80, 10, 7]);
  assert.equal(sizes(await loadDataset({ path: makeFolder({ 'train.jsonl': labelled(100) }) })), [80, 10, 10]);
});

test('files named one by one take the place of those of the folder', async () => {
  const path = makeFolder({
    'train.jsonl': labelled(10),
    'dev.jsonl': labelled(4),
    'test.jsonl': labelled(5),
    'other.jsonl': labelled(3),
  });
  assert.equal(sizes(await loadDataset({ path, test: join(path, 'other.jsonl') })), [10, 4, 3]);
  const file = (name: string) => join(path, `${name}.jsonl`);
  assert.equal(sizes(await loadDataset({ train: file('train'), dev: file('dev'), test: file('other') })), [10, 4, 3]);
});

test('splitRows: equal texts on one side, rare labels in train, shares kept, for any rows', () => {
  const seed = 11;
  const random = seededRandom(seed);
  for (let round = 0; round < 60; round++) {
    const where = `seed ${seed}, round ${round}`;
    const labels = 1 + Math.floor(random() * 12);
    const rows: TextRow[] = Array.from({ length: labels * 12 + Math.floor(random() * 300) }, () => ({
      text: `text ${Math.floor(random() * 900)}`,
      label: `label ${Math.floor(random() ** 2 * labels)}`,
    }));
    const parts = splitRows(rows, [0.8, 0.1, 0.1], round);
    assert.equal(
      parts.flat().sort((a, b) => a - b),
      rows.map((_, index) => index),
      where,
    );
    const side = new Map<string, number>();
    parts.forEach((part, index) => {
      for (const row of part) {
        assert.is(side.get(rows[row]!.text) ?? index, index, `${where}: ${rows[row]!.text} is on two sides`);
        side.set(rows[row]!.text, index);
      }
    });
    const trained = new Set(parts[0]!.map((row) => rows[row]!.label));
    const firstLabels = new Map<string, string>();
    for (const row of rows) if (!firstLabels.has(row.text)) firstLabels.set(row.text, row.label!);
    for (const label of firstLabels.values()) assert.ok(trained.has(label), `${where}: no ${label} in train`);
    assert.ok(
      Math.abs(parts[1]!.length - rows.length * 0.1) < labels + 8,
      `${where}: ${parts[1]!.length} of ${rows.length}`,
    );
  }
});

test('limit: so many rows, every label, in their order', async () => {
  const path = join(makeFolder({ 'all.jsonl': labelled(300) }), 'all.jsonl');
  const data = await loadDataset({ path, limit: { train: 31, dev: 5 } });
  assert.equal(sizes(data), [31, 5, 30]);
  assert.is(new Set(data.train.rows.map((row) => (row as TextRow).label)).size, 3);
  assert.equal(
    data.train.lines,
    [...data.train.lines].sort((a, b) => a - b),
  );
  assert.equal(sizes(await loadDataset({ path, limit: 20 })), [20, 20, 20]);
  const rows = Array.from({ length: 50 }, (_, index) => ({
    text: `${index}`,
    label: index < 45 ? 'big' : `small ${index}`,
  }));
  for (let count = 6; count <= 50; count++) {
    const sample = sampleRows(rows, count, count);
    assert.is(sample.length, count);
    assert.is(new Set(sample).size, count);
    assert.is(new Set(sample.map((row) => rows[row]!.label)).size, 6, `all labels among ${count}`);
  }
});

test('bad data', async () => {
  const good = [text('a', 'one'), text('b', 'two')];
  const unknown = makeFolder({ 'train.jsonl': good, 'dev.jsonl': ['', text('bb', 'x')], 'test.jsonl': good });
  await expectError(
    () => loadDataset({ path: unknown }),
    'BAD_DATA',
    /dev\.jsonl:2: label sets differ between splits: expected one of the 2 labels of .*train\.jsonl \(train\) but found "bb" \(dev\); did you mean "b"\?/,
  );
  const tags = [words(['a'], ['B-X'])];
  await expectError(
    () =>
      loadDataset({
        path: makeFolder({ 'train.jsonl': tags, 'dev.jsonl': tags, 'test.jsonl': [words(['a'], ['B-Q'])] }),
      }),
    'BAD_DATA',
    /test\.jsonl:1: label sets differ .* entity types of .* but found "Q" \(test\)/,
  );
  await expectError(
    () => loadDataset({ path: makeFolder({ 'train.jsonl': ['', ''] }) }),
    'BAD_DATA',
    /train\.jsonl: expected at least one row but found none/,
  );
  await expectError(
    () =>
      loadDataset({ path: makeFolder({ 'train.jsonl': [good[0]!, good[0]!], 'dev.jsonl': good, 'test.jsonl': good }) }),
    'BAD_DATA',
    /label sets differ/,
  );
  const oneLabel = Array(20)
    .fill(good[0])
    .map((line: string, index) => line.replace('one', `${index}`));
  await expectError(
    () => loadDataset({ path: makeFolder({ 'train.jsonl': oneLabel }) }),
    'BAD_DATA',
    /at least two different labels but found only "a"/,
  );
  await expectError(
    () => loadDataset({ path: makeFolder({ 'train.jsonl': good }) }),
    'BAD_DATA',
    /rows enough for train, dev, test but found 2/,
  );
  await expectError(
    () => loadDataset({ path: makeFolder({ 'dev.jsonl': good }) }),
    'BAD_DATA',
    /expected a file called train\.jsonl, .* or train\.parquet but found none in the folder/,
  );
  await expectError(
    () => loadDataset({ path: '/nowhere' }),
    'BAD_DATA',
    /^\/nowhere: expected a data folder or file but there is none/,
  );
  const mixed = makeFolder({ 'train.jsonl': good, 'dev.jsonl': tags });
  await expectError(
    () => loadDataset({ path: mixed }),
    'BAD_DATA',
    /dev\.jsonl:1: expected "text" to be a string but found none/,
  );
  const folder = makeFolder({});
  mkdirSync(join(folder, 'train.jsonl'));
  await expectError(() => loadDataset({ path: folder }), 'BAD_DATA', /found a folder/);
});

test('bad options', async () => {
  await expectError(
    () => loadDataset({}),
    'BAD_OPTION',
    /data: expected "path", a folder or file, or "train", a file, but found neither/,
  );
  await expectError(() => loadDataset({ pth: 'x' } as never), 'BAD_OPTION', /unknown key "pth"; did you mean "path"/);
  await expectError(
    () => loadDataset({ path: 'x', split: { train: 0.8, dev: 0.1, test: 0.2 } }),
    'BAD_OPTION',
    /split: expected shares whose sum is 1/,
  );
  await expectError(
    () => loadDataset({ path: 'x', split: { train: NaN, dev: 0.1, test: 0.2 } }),
    'BAD_OPTION',
    /split\.train/,
  );
  const path = join(makeFolder({ 'all.jsonl': labelled(60) }), 'all.jsonl');
  await expectError(
    () => loadDataset({ path, limit: 2 }),
    'BAD_OPTION',
    /a train row for each of the 3 labels but found 2/,
  );
  await expectError(() => loadDataset({ path, train: path }), 'BAD_OPTION', /"path" to be a folder beside "train"/);
});

test('the real data sets have the published sizes', async () => {
  const shared = sharedFolder('data');
  if (!shared) return skip('shared/data is not beside this checkout');
  const expected: Record<string, [number, number[]]> = {
    banking77: [77, [9000, 1003, 3080]],
    conll2003: [9, [14041, 3250, 3453]],
    wnut17: [13, [3394, 1009, 1287]],
    cluener: [21, [9748, 1000, 1343]],
  };
  for (const [name, [labels, rows]] of Object.entries(expected)) {
    const data = await loadDataset({ path: join(shared, name) });
    assert.is(data.labels.length, labels, name);
    assert.equal(sizes(data), rows, name);
  }
});

test.run();
