/** Examples from rows: ids, labels on first pieces, truncation. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeRows, encodeTextRows, encodeTokenRows } from '../../../lib/data/encode.js';
import { expectError } from '../../harness.js';
import { letterTokenizer } from '../predict/fake-engine.js';

const tokenizer = letterTokenizer();

test('texts: class ids, pairs, truncation', async () => {
  const { examples, truncated } = encodeTextRows(
    [{ text: 'ab', label: 'y' }, { text: 'a', textPair: 'bc', label: 'x' }, { text: 'abcdef' }],
    { tokenizer, labels: ['x', 'y'], maxLength: 6 },
  );
  assert.is(truncated, 1);
  assert.equal(
    examples.map(({ label }) => label),
    [1, 0, undefined],
  );
  assert.equal([...examples[1]!.tokenTypeIds], [0, 0, 0, 1, 1, 1]);
  assert.is(examples[2]!.inputIds.length, 6);
  await expectError(
    () =>
      encodeTextRows([{ text: 'a', label: 'z' }], {
        tokenizer,
        labels: ['x', 'y'],
        maxLength: 9,
        place: () => 'dev.jsonl:3',
      }),
    'BAD_DATA',
    /^dev\.jsonl:3: expected one of the model's 2 labels but found "z"/,
  );
});

test('words: a label on the first piece, -100 elsewhere', () => {
  const { examples, truncated } = encodeTokenRows(
    [
      { tokens: ['abc', '\u200b', 'd', 'ef'], tags: ['B-X', 'O', 'I-X', 'O'] },
      { tokens: ['a', 'b', 'c'], tags: ['O', 'O', 'B-X'] },
    ],
    { tokenizer, labels: ['O', 'B-X', 'I-X'], maxLength: 8 },
  );
  assert.is(truncated, 0);
  assert.equal([...examples[0]!.wordIds!], [-1, 0, 0, 0, 2, 3, 3, -1]);
  assert.equal([...examples[0]!.tokenLabels!], [-100, 1, -100, -100, 2, 0, -100, -100]);
  const cut = encodeTokenRows([{ tokens: ['abc', 'd'], tags: ['B-X', 'O'] }], {
    tokenizer,
    labels: ['O', 'B-X', 'I-X'],
    maxLength: 4,
  });
  assert.is(cut.truncated, 1);
  assert.equal([...cut.examples[0]!.tokenLabels!], [-100, 1, -100, -100]);
});

test('without labels examples carry none', () => {
  const [one] = encodeRows([{ tokens: ['a'], tags: ['B-X'] }], 'token-classification', {
    tokenizer,
    maxLength: 8,
  }).examples;
  assert.is(one!.tokenLabels, undefined);
  assert.equal([...one!.wordIds!], [-1, 0, -1]);
});

test.run();
