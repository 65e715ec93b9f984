import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Task } from '../../../lib/data/dataset.js';
import { findFiles } from '../../../lib/data/files.js';
import { readRows, type ReadOptions } from '../../../lib/data/read-rows.js';
import { expectError, root, temporaryFolder } from '../../harness.js';

const folder = temporaryFolder();
const parquet = (name: string) => join(root, 'test', 'fixtures', 'parquet', name);

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function read(path: string, task: Task, options: ReadOptions = {}) {
  const found: { row: object; line: number; fields: Record<string, unknown> }[] = [];
  for await (const row of readRows(path, task, options)) found.push(row);
  return found;
}

const rowsOf = async (path: string, task: Task, options?: ReadOptions) =>
  (await read(path, task, options)).map(({ row }) => row);

for (const codec of ['snappy', 'zstd', 'gzip', 'brotli', 'none']) {
  test(`Parquet, ${codec}: every row of every group, with its number`, async () => {
    const bad: number[] = [];
    const options = { labelled: true, onBadRow: (_error: unknown, line: number) => bad.push(line) };
    const rows = await read(parquet(`${codec}.parquet`), 'text-classification', options);
    const expected = Array.from({ length: 25 }, (_, i) => i).filter((i) => i !== 20);
    assert.equal(
      rows.map(({ row, line }) => ({ row, line })),
      expected.map((i) => ({
        row: { text: `text ${i} 😀 ${'x'.repeat(i % 7)}`, label: `class ${i % 3}` },
        line: i + 1,
      })),
    );
    assert.equal(bad, [21], 'the row without a label');
    assert.is(rows[1]!.fields.when, '2023-11-14T22:13:20.001Z');
  });
}

test('Parquet: classes by their names where the file has them, else by their numbers', async () => {
  const columns = { text: 'sentence' };
  const named = await rowsOf(parquet('classes.parquet'), 'text-classification', { labelled: true, columns });
  assert.equal(
    named.slice(0, 2).map((row) => (row as { label: string }).label),
    ['neg', 'pos'],
  );
  const numbers = await rowsOf(parquet('numbers.parquet'), 'text-classification', { labelled: true, columns });
  assert.equal(
    numbers.slice(0, 2).map((row) => (row as { label: string }).label),
    ['0', '1'],
  );
  const words = { labelled: true, columns: { tags: 'ner_tags' } };
  assert.equal(await rowsOf(parquet('words.parquet'), 'token-classification', words), [
    { tokens: ['Ada', 'Lovelace', 'wrote'], tags: ['B-PER', 'I-PER', 'O'] },
    { tokens: ['nobody'], tags: ['O'] },
  ]);
});

test('Parquet: several labels a row, and scores', async () => {
  assert.equal(await rowsOf(parquet('several.parquet'), 'multi-label-classification', { labelled: true }), [
    { text: 'a', labels: ['x', 'y'] },
    { text: 'b', labels: [] },
  ]);
  assert.equal(await rowsOf(parquet('scores.parquet'), 'regression', { labelled: true }), [
    { text: 'a', textPair: 'c', label: 0.5 },
    { text: 'b', textPair: 'd', label: 3.25 },
  ]);
});

test('bad: Parquet files that are none, cut off, compressed in another way or without the column', async () => {
  const task = 'text-classification';
  await expectError(() => read(join(folder, 'no.parquet'), task), 'BAD_DATA', /no\.parquet: .* there is none/);
  for (const [content, found] of [
    ['', /but found an empty one$/],
    [`PAR1${'\0'.repeat(100)}PAR1`, /but found damaged data$/],
    ['{"text": "a", "label": "x"}', /but found one that is cut off, or of another kind \(no PAR1 at its end\)$/],
  ] as const) {
    const name = file('x.parquet', content);
    await expectError(() => read(name, task), 'BAD_DATA', /x\.parquet: expected a Parquet file but found/);
    await expectError(() => read(name, task), 'BAD_DATA', found);
  }
  const { readFileSync } = await import('node:fs');
  const cut = readFileSync(parquet('snappy.parquet')).subarray(0, 900);
  await expectError(
    () => read(file('cut.parquet', cut), task),
    'BAD_DATA',
    /cut\.parquet: expected a Parquet file but found one that is cut off/,
  );
  await expectError(
    () => read(parquet('lz4.parquet'), task),
    'BAD_DATA',
    /lz4\.parquet: rows 1 to 10: expected pages compressed with snappy, .* but found LZ4_RAW$/,
  );
  await expectError(
    () => read(parquet('classes.parquet'), task),
    'BAD_DATA',
    /classes\.parquet: expected a column "text" but found "sentence", "label"/,
  );
});

test('gzip: every text format, and several members in a file', async () => {
  const members = Buffer.concat([gzipSync('{"text":"a"}\n{"te'), gzipSync('xt":"b"}\n')]);
  assert.equal(await rowsOf(file('a.jsonl.gz', members), 'text-classification'), [{ text: 'a' }, { text: 'b' }]);
  const table = gzipSync('text,label\none,x\n');
  assert.equal(await rowsOf(file('a.csv.gz', table), 'text-classification'), [{ text: 'one', label: 'x' }]);
  const conll = gzipSync('a B-X\n\nb O\n');
  assert.is((await rowsOf(file('a.conll.gz', conll), 'token-classification')).length, 2);
  await expectError(
    () => read(file('cut.jsonl.gz', members.subarray(0, members.length - 12)), 'text-classification'),
    'BAD_DATA',
    /cut\.jsonl\.gz: expected gzipped data but found: unexpected end of file/,
  );
  await expectError(
    () => read(file('plain.jsonl.gz', '{"text":"a"}\n'), 'text-classification'),
    'BAD_DATA',
    /plain\.jsonl\.gz: expected gzipped data but found/,
  );
  await expectError(
    () => read(join(folder, 'none.jsonl.gz'), 'text-classification'),
    'BAD_DATA',
    /none\.jsonl\.gz: expected a data file but there is none/,
  );
});

test('CSV: the separator is found by the header, or named', async () => {
  const semicolons = file('s.csv', 'text;label\n"a;b";x\nc,d;y\n');
  const expected = [
    { text: 'a;b', label: 'x' },
    { text: 'c,d', label: 'y' },
  ];
  assert.equal(await rowsOf(semicolons, 'text-classification', { labelled: true }), expected);
  const colons = file('c.csv', 'text:label\na;b:x\nc,d:y\n');
  assert.equal(await rowsOf(colons, 'text-classification', { labelled: true, separator: ':' }), expected);
});

test('columns: names for fields of every format; one field has one name', async () => {
  const jsonl = file('n.jsonl', '{"words":["a","b"],"ner":["S-X","O"]}\n');
  const columns = { tokens: 'words', tags: 'ner' };
  assert.equal(await rowsOf(jsonl, 'token-classification', { labelled: true, columns }), [
    { tokens: ['a', 'b'], tags: ['B-X', 'O'] },
  ]);
  await expectError(
    () => read(jsonl, 'text-classification', { textColumn: 'a', columns: { text: 'b' } }),
    'BAD_OPTION',
    /columns: expected one name for "text" but found "b" and, by textColumn, "a"/,
  );
});

test('CoNLL: comments, columns of any white space, documents, IOBES and BILOU', async () => {
  const path = file(
    'c.conll',
    '-DOCSTART- -X- O\n\n# id = 7\n# O\nAda  NNP\tB-PER\n\n-DOCSTART- -X- O\n\n#tag B-X\nx E-X\n\na U-Y\nb B-X\nc I-X\nd L-X\n',
  );
  const rows = await read(path, 'token-classification', { labelled: true });
  assert.equal(
    rows.map(({ row }) => row),
    [
      { tokens: ['#', 'Ada  NNP'], tags: ['O', 'B-PER'] },
      { tokens: ['#tag', 'x'], tags: ['B-X', 'I-X'] },
      { tokens: ['a', 'b', 'c', 'd'], tags: ['B-Y', 'B-X', 'I-X', 'I-X'] },
    ],
  );
  assert.equal(
    rows.map(({ fields }) => fields.document),
    [1, 2, 2],
  );
});

test('globs: names in order, folders of any depth, and what matches nothing', async () => {
  mkdirSync(join(folder, 'deep', 'er'), { recursive: true });
  for (const name of ['b-1.jsonl', 'b-2.jsonl', 'b-10.csv', 'b[1].jsonl', 'deep/b-3.jsonl', 'deep/er/b-4.jsonl'])
    file(name, '');
  const names = (pattern: string | string[]) =>
    findFiles([pattern].flat().map((one) => join(folder, one))).map((found) => found.slice(folder.length + 1));
  assert.equal(names('b-*.jsonl'), ['b-1.jsonl', 'b-2.jsonl']);
  assert.equal(names('b-?.{csv,jsonl}'), ['b-1.jsonl', 'b-2.jsonl']);
  assert.equal(names('b-[!1]*.jsonl'), ['b-2.jsonl']);
  assert.equal(names('b[1].jsonl'), ['b[1].jsonl'], 'a file of that very name');
  assert.equal(names('**/b-[34].jsonl'), ['deep/b-3.jsonl', 'deep/er/b-4.jsonl']);
  assert.equal(names(['b-2.jsonl', 'b-*.jsonl']), ['b-2.jsonl', 'b-1.jsonl']);
  await expectError(
    () => names('c-*.jsonl'),
    'BAD_DATA',
    /c-\*\.jsonl: expected data files of this form but there is none/,
  );
});

test.run();
