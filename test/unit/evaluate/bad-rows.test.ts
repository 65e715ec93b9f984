/** What `evaluate` says to rows and datasets that are none. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { evaluate } from '../../../lib/evaluate/evaluate.js';
import { expectError, root } from '../../harness.js';

const model = join(root, 'test', 'fixtures', 'tiny-bert');
const score = (data: unknown, options = {}) => evaluate(model, data as never, options);
const label = 'lost card';

test('rows that are none are named by their index', async () => {
  const good = { text: 'lost card', label };
  assert.is((await score([good])).rows, 1);
  assert.is((await score({ test: { rows: [good] } })).rows, 1, 'lines are not needed');
  const cases: [unknown, RegExp][] = [
    [5, /^row 1: expected a row but found number 5$/],
    [null, /^row 1: expected a row but found null$/],
    [{ text: 5, label }, /^row 1: expected "text" to be a string but found number 5$/],
    [{ text: ' ', label }, /^row 1: expected "text" to hold text but found " "$/],
    [{ text: 'a' }, /^row 1: expected "label" to evaluate against but found none$/],
    [{ tokens: ['a'], tags: ['O'] }, /^row 1: expected a row for text-classification, .* found one with "tokens"$/],
  ];
  for (const [row, message] of cases) await expectError(() => score([good, row]), 'BAD_DATA', message);
});

test('what is no dataset and options that are none are refused', async () => {
  for (const data of [undefined, null, 'rows', 5, {}, { test: {} }, { test: { rows: 5 } }])
    await expectError(() => score(data), 'BAD_OPTION', /evaluate: expected a dataset, .* or an array of rows/);
  await expectError(() => score([]), 'BAD_DATA', /rows: expected rows to evaluate on but found none/);
  await expectError(() => evaluate(undefined as never, [{ text: 'a', label }]), 'BAD_OPTION', /folder of a checkpoint/);
  await expectError(() => score([], { onProgress: 5 }), 'BAD_OPTION', /onProgress: expected a function but found 5/);
  await expectError(() => score([], { threads: 5000 }), 'BAD_OPTION', /threads: .*, at most 1024, but found 5000/);
});

test.run();
