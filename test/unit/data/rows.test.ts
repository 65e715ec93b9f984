/** Rows of the tasks whose labels are several names, or numbers. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Task } from '../../../lib/data/dataset.js';
import { loadDataset } from '../../../lib/data/load.js';
import { readRows } from '../../../lib/data/read-rows.js';
import { expectError, temporaryFolder } from '../../harness.js';

function write(name: string, lines: readonly (string | object)[]): string {
  const file = join(temporaryFolder(), name);
  writeFileSync(file, lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''));
  return file;
}

async function rowsOf(file: string, task: Task, labelled = true): Promise<unknown[]> {
  const rows: unknown[] = [];
  for await (const { row } of readRows(file, task, { labelled })) rows.push(row);
  return rows;
}

test('several labels: an array in JSONL, cells separated by ; in tables, none at all, each once', async () => {
  const rows = [
    { text: 'one', labels: ['b', 'a', 'b'] },
    { text: 'none', labels: [] },
    { text: 'two', textPair: 'more', labels: ['c'] },
  ];
  const [first, second, third] = await rowsOf(write('a.jsonl', rows), 'multi-label-classification');
  assert.equal(first, { text: 'one', labels: ['b', 'a'] });
  assert.equal([second, third], rows.slice(1));
  const table = write('a.csv', ['text,labels', 'one,b; a ;b', 'none,']);
  assert.equal(await rowsOf(table, 'multi-label-classification'), [first, second]);
});

test('numbers: of JSON, and read from the cells of tables', async () => {
  const rows = [{ text: 'a', textPair: 'b', label: 4.25 }];
  assert.equal(await rowsOf(write('a.jsonl', rows), 'regression'), rows);
  assert.equal(await rowsOf(write('a.tsv', ['text\ttextPair\tlabel', 'a\tb\t4.25']), 'regression'), rows);
});

test('pairs for embeddings need no score', async () => {
  const rows = [
    { text: 'a', textPair: 'b' },
    { text: 'c', textPair: 'd', label: 1 },
  ];
  assert.equal(await rowsOf(write('a.jsonl', rows), 'embedding'), rows);
  assert.equal(await rowsOf(write('a.csv', ['text,textPair,label', 'a,b,', 'c,d,1']), 'embedding'), rows);
});

test('to predict, what is no label is left out', async () => {
  const rows = [
    { text: 'a', label: {} },
    { text: 'b', label: null, labels: [7], tags: 'x' },
  ];
  for (const task of ['text-classification', 'multi-label-classification', 'regression', 'embedding'] as const)
    assert.equal(await rowsOf(write('a.jsonl', rows), task, false), [{ text: 'a' }, { text: 'b' }]);
  const words = write('a.jsonl', [{ tokens: ['a'], tags: 'none' }]);
  assert.equal(await rowsOf(words, 'token-classification', false), [{ tokens: ['a'] }]);
});

test('bad labels are named with file and line', async () => {
  const cases: [Task, object | string, RegExp][] = [
    [
      'multi-label-classification',
      { text: 'a', labels: 'b' },
      /:1: expected "labels" to be an array of strings but found "b"/,
    ],
    ['multi-label-classification', { text: 'a', labels: ['b', 3] }, /"labels\[1\]" to be a string but found number 3/],
    ['multi-label-classification', { text: 'a', labels: ['b', ''] }, /"labels\[1\]" to hold a label/],
    ['multi-label-classification', { text: 'a' }, /"labels" to be an array of strings but found none/],
    ['regression', { text: 'a', label: '3' }, /"label" to be a number but found "3"/],
    ['regression', { text: 'a' }, /"label" to be a number but found none/],
    ['embedding', { text: 'a' }, /"textPair" to be a string but found none/],
    ['embedding', { text: 'a', textPair: 'b', label: 'x' }, /"label" to be a number but found "x"/],
  ];
  for (const [task, row, message] of cases)
    await expectError(() => rowsOf(write('a.jsonl', [row]), task), 'BAD_DATA', message);
  const table = write('a.csv', ['text,label', 'a,1', 'b,three', 'c,']);
  await expectError(
    () => rowsOf(table, 'regression'),
    'BAD_DATA',
    /a\.csv:3: expected "label" to be a number but found "three"/,
  );
  await expectError(
    () => rowsOf(write('b.csv', ['text,label', 'a,1']), 'embedding'),
    'BAD_DATA',
    /a column "textPair"/,
  );
});

test('datasets: the set of labels, or none', async () => {
  const several = write('train.jsonl', [
    { text: 'a', labels: ['y', 'x'] },
    { text: 'b', labels: [] },
    { text: 'c', labels: ['z'] },
    { text: 'd', labels: ['x'] },
  ]);
  const split = { train: 1, dev: 0, test: 0 };
  const data = await loadDataset({ path: several, task: 'multi-label-classification', split });
  assert.equal(data.labels, ['x', 'y', 'z']);
  const numbers = write(
    'train.jsonl',
    [1, 2, 3, 4].map((label) => ({ text: `t${label}`, label })),
  );
  assert.equal((await loadDataset({ path: numbers, task: 'regression', split })).labels, ['score']);
});

test.run();
