import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { MultiLabelRow, TextRow } from '../../../lib/data/dataset.js';
import { loadDataset } from '../../../lib/data/load.js';
import { seededRandom } from '../../../lib/data/random.js';
import { describeSplits } from '../../../lib/data/split-record.js';
import { labelsOf, splitRows, textKey } from '../../../lib/data/split.js';
import { expectError, temporaryFolder } from '../../harness.js';

const shares = [0.8, 0.1, 0.1];

/** Which part each row is in, checked to be in exactly one. */
function partOf(parts: number[][], rows: number, where: string): Int32Array {
  const result = new Int32Array(rows).fill(-1);
  parts.forEach((part, index) => {
    for (const row of part) {
      assert.is(result[row], -1, `${where}: row ${row} is in two parts`);
      result[row] = index;
    }
  });
  assert.not.ok(result.includes(-1), `${where}: a row is in no part`);
  return result;
}

test('groups and texts that differ in case and white space alone stay on one side, labels are all in train', () => {
  const seed = 5;
  const random = seededRandom(seed);
  for (let round = 0; round < 80; round++) {
    const where = `seed ${seed}, round ${round}`;
    const spellings = [(text: string) => text, (text: string) => text.toUpperCase(), (text: string) => ` ${text}\t`];
    const rows: (TextRow | MultiLabelRow)[] = Array.from({ length: 150 + Math.floor(random() * 300) }, () => {
      const text = spellings[Math.floor(random() * 3)]!(`text  ${Math.floor(random() * 500)} x`);
      const label = () => `label ${Math.floor(random() ** 2 * 9)}`;
      return round % 2 ? { text, label: label() } : { text, labels: [...new Set([label(), label()])] };
    });
    const groups = round % 4 < 2 ? rows.map(() => (random() < 0.1 ? '' : Math.floor(random() * 120))) : undefined;
    const stratified = round % 3 > 0;
    const parts = splitRows(rows, shares, round, { groups, stratified });
    const part = partOf(parts, rows.length, where);
    for (const keyOf of [textKey, (_row: object, index: number) => groups?.[index] || `row ${index}`]) {
      const side = new Map<unknown, number>();
      (rows as TextRow[]).forEach((row, index) => {
        const key = keyOf(row, index);
        assert.is(side.get(key) ?? part[index], part[index], `${where}: ${String(key)} is on two sides`);
        side.set(key, part[index]!);
      });
    }
    const trained = new Set(parts[0]!.flatMap((row) => labelsOf(rows[row]!)));
    if (!groups)
      for (const row of rows) for (const label of labelsOf(row)) assert.ok(trained.has(label), `${where}: ${label}`);
    assert.equal(splitRows(rows, shares, round, { groups, stratified }), parts, `${where}: another split`);
  }
});

test('stratified parts have their share of every label; others need not', () => {
  const rows: TextRow[] = Array.from({ length: 1000 }, (_, index) => ({
    text: `${index}`,
    label: index < 900 ? 'often' : 'seldom',
  }));
  for (let seed = 0; seed < 20; seed++) {
    const seldom = splitRows(rows, shares, seed).map((part) => part.filter((row) => row >= 900).length);
    assert.equal(seldom, [80, 10, 10], `seed ${seed}`);
  }
  const counts = Array.from(
    { length: 20 },
    (_, seed) => splitRows(rows, shares, seed, { stratified: false })[1]!.filter((row) => row >= 900).length,
  );
  assert.ok(new Set(counts).size > 3, `${counts} seldom rows of dev`);
  assert.ok(counts.every((count) => count < 30));
});

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}
const folder = temporaryFolder();

const users = file(
  'users.csv',
  `who,text,label\n${Array.from({ length: 200 }, (_, index) => `user ${index % 20},text ${index},${index % 3 ? 'a' : 'b'}\n`).join('')}`,
);

test('groupBy keeps the rows of a user together; shares that are not given are 0', async () => {
  const data = await loadDataset({ path: users, split: { groupBy: 'who' } });
  const usersOf = (lines: number[]) => new Set(lines.map((line) => (line - 2) % 20));
  const [train, dev, test] = [data.train, data.dev, data.test].map(({ lines }) => usersOf(lines));
  assert.is(train!.size + dev!.size + test!.size, 20);
  assert.equal(
    [data.train, data.dev, data.test].map(({ rows }) => rows.length),
    [160, 20, 20],
  );
  const two = await loadDataset({ path: users, split: { train: 0.75, dev: 0.25 } });
  assert.equal([two.train.rows.length, two.dev.rows.length, two.test.rows.length], [150, 50, 0]);
  await expectError(
    () => loadDataset({ path: users, split: { groupBy: 'user' } }),
    'BAD_DATA',
    /users\.csv:2: expected "user", which the split goes by, but found none/,
  );
});

test('several files a split, by list, glob, or as shards of a folder; places name the right one', async () => {
  const rows = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => `{"text":"${from + i}","label":"${(from + i) % 2}"}\n`).join('');
  mkdirSync(join(folder, 'set'));
  file('set/train-00000-of-00002.jsonl', rows(0, 20));
  file('set/train-00001-of-00002.jsonl', rows(20, 20));
  file('set/validation.jsonl.gz', gzipSync(rows(40, 4)));
  file('set/test.csv', 'text,label\n50,0\n');
  const data = await loadDataset({ path: join(folder, 'set') });
  assert.equal([data.train.rows.length, data.dev.rows.length, data.test.rows.length], [40, 4, 1]);
  assert.match(data.train.file, /train-00000-of-00002\.jsonl and 1 more$/);
  const glob = await loadDataset({ path: join(folder, 'set', 'train-*.jsonl'), split: { train: 0.5, dev: 0.5 } });
  assert.is(glob.train.rows.length + glob.dev.rows.length, 40);
  const record = describeSplits(glob);
  for (const split of [glob.train, glob.dev]) {
    const lines = Object.entries(record[split.name]!.lines).flatMap(([name, text]) =>
      text.split(',').flatMap((range) => {
        const [from, to = from] = range.split('-').map(Number);
        return Array.from({ length: to! - from! + 1 }, (_, i) => (/00001-of/.test(name) ? 20 : 0) + from! + i - 1);
      }),
    );
    assert.equal(
      lines,
      split.rows.map((row) => Number((row as TextRow).text)),
      'the record finds the rows',
    );
  }
  file('set/bad.jsonl', '{"text":"x","label":"0"}\n\n{"text":"y","label":"q"}\n');
  const train = ['train-00000-of-00002.jsonl', 'bad.jsonl'].map((name) => join(folder, 'set', name));
  await expectError(
    () => loadDataset({ path: join(folder, 'set'), train, labels: ['1', '0'] }),
    'BAD_DATA',
    /bad\.jsonl:3: expected one of the 2 labels of "labels" but found "q" \(train\)/,
  );
  const named = await loadDataset({ path: join(folder, 'set'), labels: ['1', 'never', '0'] });
  assert.equal(named.labels, ['1', 'never', '0'], 'in the order given');
});

test('bad split options', async () => {
  const load = (split: object) => () => loadDataset({ path: users, split });
  await expectError(load({ train: 0.8, dev: 0.1 }), 'BAD_OPTION', /split: expected shares whose sum is 1/);
  await expectError(load({ group: 'who' }), 'BAD_OPTION', /unknown key "group"/);
  await expectError(
    () => loadDataset({ path: users, split: { groupBy: 'label' } }),
    'BAD_DATA',
    /expected rows enough for train, dev, test but found 200 in too few groups/,
  );
  const two = ['text,label', ...Array.from({ length: 40 }, (_, row) => (row % 2 ? 'Yes,a' : 'no,b'))].join('\n');
  await expectError(
    () => loadDataset({ path: file('two.csv', two) }),
    'BAD_DATA',
    /expected rows enough for train, dev, test but found 40 with 2 different texts, which leaves/,
  );
});

test.run();
