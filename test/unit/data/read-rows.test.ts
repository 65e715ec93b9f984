/** Reading data files: formats, and every kind of bad row with its place. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Row, Task } from '../../../lib/data/dataset.js';
import { readRows, type ReadOptions } from '../../../lib/data/read-rows.js';
import { expectError, temporaryFolder } from '../../harness.js';

const folder = temporaryFolder();
const [texts, entities] = ['text-classification', 'token-classification'] as const;

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function read(path: string, task: Task, options?: ReadOptions): Promise<{ row: Row; line: number }[]> {
  const rows = [];
  for await (const { row, line } of readRows(path, task, options)) rows.push({ row, line });
  return rows;
}

test('JSONL: rows, blank lines, Windows ends, a byte order mark, no end at the end', async () => {
  const path = file(
    'a.jsonl',
    '\ufeff{"text":"one","label":"x","id":7}\r\n\n  \n{"text":"zwei ü😀","textPair":"p","label":"y"}',
  );
  assert.equal(await read(path, texts, { labelled: true }), [
    { row: { text: 'one', label: 'x' }, line: 1 },
    { row: { text: 'zwei ü😀', textPair: 'p', label: 'y' }, line: 4 },
  ]);
});

test('JSONL: words and tags, also IOB1', async () => {
  const path = file('b.jsonl', '{"tokens":["a","b"],"tags":["B-X","I-X"]}\n{"tokens":["c"]}\n');
  assert.equal(await read(path, entities), [
    { row: { tokens: ['a', 'b'], tags: ['B-X', 'I-X'] }, line: 1 },
    { row: { tokens: ['c'] }, line: 2 },
  ]);
  const old = file('iob1.jsonl', '{"tokens":["a","b","c"],"tags":["I-X","B-X","I-Y"]}\n');
  assert.equal(await read(old, entities, { scheme: 'IOB1' }), [
    { row: { tokens: ['a', 'b', 'c'], tags: ['B-X', 'B-X', 'B-Y'] }, line: 1 },
  ]);
});

test('CSV: quotes, line ends inside, blank lines, other columns, column names', async () => {
  const path = file('a.csv', 'id,message,intent\n\n1,"a, ""b""\nc",x\r\n\n2, d ,y\n');
  assert.equal(await read(path, texts, { textColumn: 'message', labelColumn: 'intent', labelled: true }), [
    { row: { text: 'a, "b"\nc', label: 'x' }, line: 3 },
    { row: { text: ' d ', label: 'y' }, line: 6 },
  ]);
  assert.equal(await read(file('b.csv', 'text,label\na,\n'), texts), [{ row: { text: 'a' }, line: 2 }]);
});

test('a row comes with everything that the file holds for it', async () => {
  const json = file('fields.jsonl', '{"text":"one","id":7}\n');
  const table = file('fields.csv', 'id,message\n7,one\n');
  for await (const { fields } of readRows(json, texts)) assert.equal(fields, { text: 'one', id: 7 });
  for await (const { fields } of readRows(table, texts, { textColumn: 'message' })) {
    assert.equal(fields, { id: '7', message: 'one' });
  }
});

test('TSV: quotes are text', async () => {
  const path = file('a.tsv', 'text\tlabel\nsay "hi\tx\n"b" \ty\n');
  assert.equal(await read(path, texts, { labelled: true }), [
    { row: { text: 'say "hi', label: 'x' }, line: 2 },
    { row: { text: '"b" ', label: 'y' }, line: 3 },
  ]);
});

test('CoNLL: columns, documents, IOB1, no blank line at the end', async () => {
  const path = file(
    'a.conll',
    '-DOCSTART- -X- O O\n\nEU NNP B-NP I-ORG\nrejects VBZ B-VP O\n\n\nPeter I-PER\nBlackburn I-PER\nEU B-PER',
  );
  assert.equal(await read(path, entities, { labelled: true }), [
    { row: { tokens: ['EU', 'rejects'], tags: ['B-ORG', 'O'] }, line: 3 },
    { row: { tokens: ['Peter', 'Blackburn', 'EU'], tags: ['B-PER', 'I-PER', 'B-PER'] }, line: 7 },
  ]);
  assert.equal(await read(file('tabs.conll', 'New York\tB-LOC\n'), entities), [
    { row: { tokens: ['New York'], tags: ['B-LOC'] }, line: 1 },
  ]);
  assert.equal(await read(file('bare.conll', 'a\nb\n\nc\n'), entities), [
    { row: { tokens: ['a', 'b'] }, line: 1 },
    { row: { tokens: ['c'] }, line: 4 },
  ]);
});

const bad: [what: string, name: string, content: string | Uint8Array, task: Task, message: RegExp][] = [
  [
    'broken JSON',
    'x.jsonl',
    '{"text":"a","label":"x"}\n{"text":',
    texts,
    /x\.jsonl:2: expected a JSON object but the line is none: .*JSON/,
  ],
  ['no object', 'x.jsonl', '[1]', texts, /x\.jsonl:1: expected a JSON object but found an array of 1/],
  ['no text', 'x.jsonl', '{"label":"x"}', texts, /x\.jsonl:1: expected "text" to be a string but found none/],
  [
    'text of a wrong type',
    'x.jsonl',
    '\n{"text":5}',
    texts,
    /x\.jsonl:2: expected "text" to be a string but found number 5/,
  ],
  ['empty text', 'x.jsonl', '{"text":" \\n"}', texts, /x\.jsonl:1: expected "text" to hold text but found " \\n"/],
  ['no label', 'x.jsonl', '{"text":"a"}', texts, /x\.jsonl:1: expected "label" to be a string but found none/],
  ['label of a wrong type', 'x.jsonl', '{"text":"a","label":null}', texts, /"label" to be a string but found null/],
  ['empty label', 'x.jsonl', '{"text":"a","label":""}', texts, /"label" to hold a label but found ""/],
  ['a long value is cut', 'x.jsonl', `{"text":"a","label":["${'b'.repeat(99)}"]}`, texts, /but found an array of 1$/],
  [
    'no tokens',
    'x.jsonl',
    '{"tags":[]}',
    entities,
    /x\.jsonl:1: expected "tokens" to be an array of strings but found none/,
  ],
  [
    'empty tokens',
    'x.jsonl',
    '{"tokens":[],"tags":[]}',
    entities,
    /"tokens" to hold at least one word but found an empty array/,
  ],
  [
    'an empty word',
    'x.jsonl',
    '{"tokens":["a"," "],"tags":["O","O"]}',
    entities,
    /"tokens\[1\]" to be a word but found " "/,
  ],
  [
    'a word of a wrong type',
    'x.jsonl',
    '{"tokens":["a",1],"tags":["O","O"]}',
    entities,
    /"tokens\[1\]" to be a string but found number 1/,
  ],
  [
    'different lengths',
    'x.jsonl',
    '{"tokens":["a","b"],"tags":["O"]}',
    entities,
    /as many tags as tokens but found 1 tags and 2 tokens/,
  ],
  ['no tags', 'x.jsonl', '{"tokens":["a"]}', entities, /"tags" to be an array of strings but found none/],
  [
    'no BIO tag',
    'x.jsonl',
    '{"tokens":["a"],"tags":["PER"]}',
    entities,
    /"tags\[0\]" to be O, B-TYPE or I-TYPE but found "PER"/,
  ],
  [
    'I without B',
    'x.jsonl',
    '{"tokens":["a","b"],"tags":["O","I-X"]}',
    entities,
    /"tags\[1\]" to begin its entity with B- but found "I-X" after "O"/,
  ],
  ['I at the start', 'x.jsonl', '{"tokens":["a"],"tags":["I-X"]}', entities, /but found "I-X" at the start/],
  [
    'I of another type',
    'x.jsonl',
    '{"tokens":["a","b"],"tags":["B-Y","I-X"]}',
    entities,
    /but found "I-X" after "B-Y"/,
  ],
  [
    'no UTF-8',
    'x.jsonl',
    Buffer.from('{"text":"a","label":"x"}\n{"text":"\xff"}\n', 'latin1'),
    texts,
    /x\.jsonl:2: expected UTF-8 text but found other bytes/,
  ],
  ['no UTF-8 in CSV', 'x.csv', Buffer.from('text,label\na,b\n\xe9,c', 'latin1'), texts, /x\.csv:3: expected UTF-8/],
  [
    'a missing column',
    'x.csv',
    'message,label\na,b\n',
    texts,
    /x\.csv:1: expected a header with a column "text" but found "message", "label"/,
  ],
  [
    'too many columns',
    'x.csv',
    'text,label\na,b\nc,d,e\n',
    texts,
    /x\.csv:3: expected 2 columns, as in the header, but found 3/,
  ],
  ['too few columns', 'x.csv', 'text,label\na\n', texts, /x\.csv:2: expected 2 columns, as in the header, but found 1/],
  [
    'an open quote',
    'x.csv',
    'text,label\n"a,b\n',
    texts,
    /x\.csv:2: expected a closing quote to every opening one but found a quote out of place/,
  ],
  ['an empty cell', 'x.csv', 'text,label\n"",b\n', texts, /x\.csv:2: expected "text" to hold text but found ""/],
  [
    'a CoNLL line without a tag',
    'x.conll',
    'a O\nb\n',
    entities,
    /x\.conll:2: expected a token and, last on the line, its tag .* but found none/,
  ],
  ['a CoNLL line with another tag', 'x.conll', 'a O\n\nb X-X\n', entities, /x\.conll:3: .* but found "X-X"/],
  [
    'a table of entities',
    'x.csv',
    'a,b\n',
    entities,
    /x\.csv: expected a JSONL, Parquet or CoNLL file for token-classification but found CSV/,
  ],
  ['CoNLL for texts', 'x.conll', 'a O\n', texts, /x\.conll: expected a JSONL, Parquet, CSV or TSV file/],
  [
    'an unknown extension',
    'x.xlsx',
    '',
    texts,
    /x\.xlsx: expected a data file whose name ends in \.jsonl, .* but found "\.xlsx"/,
  ],
];

for (const [what, name, content, task, message] of bad) {
  test(`bad: ${what}`, async () => {
    await expectError(() => read(file(name, content), task, { labelled: true }), 'BAD_DATA', message);
  });
}

test('bad: no file, a folder', async () => {
  await expectError(
    () => read(join(folder, 'none.jsonl'), texts),
    'BAD_DATA',
    /none\.jsonl: expected a data file but there is none/,
  );
  await expectError(
    () => read(folder, texts, { format: 'jsonl' }),
    'BAD_DATA',
    /expected a data file but found a folder/,
  );
});

test('bad rows are put aside on request, and the others come', async () => {
  for (const [name, content] of [
    ['mixed.jsonl', '{"text":"a"}\n{"text":\n{"text":""}\n{"text":"b"}\n'],
    ['mixed.csv', 'text\na\n"x",y\n" "\nb\n'],
  ] as const) {
    const lines: number[] = [];
    const rows = await read(file(name, content), texts, { onBadRow: (_error, line) => lines.push(line) });
    assert.equal(
      rows.map(({ row }) => (row as { text: string }).text),
      ['a', 'b'],
      name,
    );
    assert.equal(lines, name === 'mixed.jsonl' ? [2, 3] : [3, 4], name);
  }
});

test('lines that are not UTF-8 are put aside too, alone', async () => {
  for (const [name, content, expected] of [
    ['latin.jsonl', '{"text":"a"}\n{"text":"caf\xe9"}\n\n{"text":"b"}\n{"text":"\xe9"}', [2, 5]],
    ['latin.tsv', 'text\na\ncaf\xe9\nb\n', [3]],
    ['latin.csv', 'text\na\ncaf\xe9\n"x\n\xff"\nb\n', [3, 4, 5]],
  ] as const) {
    const lines: number[] = [];
    const rows = await read(file(name, Buffer.from(content, 'latin1')), texts, {
      onBadRow: (error, line) => {
        lines.push(line);
        assert.match(error.message, new RegExp(`${name}:${line}: expected .*UTF-8|quot`));
      },
    });
    assert.equal(
      rows.map(({ row }) => (row as { text: string }).text),
      ['a', 'b'],
      name,
    );
    assert.equal(lines, expected, name);
  }
});

test('lines that straddle blocks, and lines longer than one', async () => {
  const values = Array.from({ length: 3000 }, (_, index) => `${index} ${'ü😀x'.repeat(index % 97)}`);
  values.push('y'.repeat(1_500_000), 'last');
  const path = file('long.jsonl', values.map((text) => JSON.stringify({ text })).join('\n'));
  const rows = await read(path, texts);
  assert.equal(
    rows.map(({ row }) => (row as { text: string }).text),
    values,
  );
  assert.equal(
    rows.map(({ line }) => line),
    values.map((_, index) => index + 1),
  );
});

test('a reader that stops early closes the file', async () => {
  const path = file('stop.jsonl', '{"text":"a"}\n'.repeat(100_000));
  for await (const { line } of readRows(path, texts)) if (line === 3) break;
});

test('a call without a file or task, and options that are none, are refused', async () => {
  const name = file('call.jsonl', '{"text":"a"}\n');
  const call = (...args: unknown[]) => expectErrorOf(() => read(...(args as Parameters<typeof read>)));
  await call(undefined, texts)(/readRows: expected the name of a file but found none/);
  await call(name, undefined)(/readRows: expected a task, one of text-classification, .* but found none/);
  await call(name, 'text-clasification')(/found "text-clasification"; did you mean "text-classification"\?/);
  await call(name, texts, { textcolumn: 'x' })(
    /readRows options: unknown key "textcolumn"; did you mean "textColumn"\?/,
  );
  await call(name, texts, { columns: { txt: 'x' } })(/unknown key "txt" in columns; did you mean "text"\?/);
  await call(name, texts, { onBadRow: 5 })(/onBadRow: expected a function but found 5/);
  await call(name, texts, { format: 'jsn' })(/format: expected jsonl, .* but found "jsn"; did you mean "jsonl"\?/);
});

function expectErrorOf(action: () => unknown) {
  return (message: RegExp) => expectError(action, 'BAD_OPTION', message);
}

test.run();
