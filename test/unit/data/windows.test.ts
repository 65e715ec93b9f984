/** Windows and pairs against Hugging Face's tokenizers; the golden file is made by test/fixtures/make_windows.py. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeRows } from '../../../lib/data/encode.js';
import { loadTokenizer } from '../../../lib/data/tokenizer/tokenizer.js';
import { cutWindows } from '../../../lib/data/windows.js';
import { expectError, root } from '../../harness.js';

interface Golden {
  windows: { text: string; maxLength: number; stride: number; windows: number[][] }[];
  pairs: { text: string; textPair: string; maxLength: number; inputIds: number[]; tokenTypeIds: number[] }[];
}
const golden = JSON.parse(readFileSync(join(root, 'test/fixtures/windows.json'), 'utf8')) as Golden;
const tokenizer = await loadTokenizer(join(root, 'test/fixtures/tiny-bert'));

test('windows are those of Hugging Face', () => {
  for (const { text, maxLength, stride, windows } of golden.windows) {
    const found = cutWindows(tokenizer.encode(text), maxLength, stride);
    assert.equal(
      found.map(({ inputIds }) => [...inputIds]),
      windows,
    );
  }
});

test('each word is in one window, where most of what surrounds it is seen', () => {
  for (const { text, maxLength, stride } of golden.windows) {
    const whole = tokenizer.encode(text);
    const windows = cutWindows(whole, maxLength, stride);
    const firsts = (wordIds: Int32Array) =>
      [...wordIds].filter((word, token) => word >= 0 && word !== wordIds[token - 1]);
    const shown = windows.flatMap(({ wordIds }) => firsts(wordIds));
    assert.equal(
      shown.sort((a, b) => a - b),
      firsts(whole.wordIds),
    );
  }
  // Words of one token: 0..9 in windows of 6 that share 4 are shown by the window in whose middle they are.
  const wordIds = Int32Array.from([-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1]);
  const encoding = { inputIds: wordIds, tokenTypeIds: new Int32Array(12), wordIds };
  assert.equal(
    cutWindows(encoding, 8, 4).map((window) => [...window.wordIds]),
    [
      [-1, 0, 1, 2, 3, -1, -1, -1],
      [-1, -1, -1, 4, 5, -1, -1, -1],
      [-1, -1, -1, 6, 7, 8, 9, -1],
    ],
  );
});

test('pairs are cut as Hugging Face cuts them, the longer text first', () => {
  for (const { text, textPair, maxLength, inputIds, tokenTypeIds } of golden.pairs) {
    const { examples } = encodeRows([{ text, textPair }], 'text-classification', { tokenizer, maxLength });
    assert.equal([...examples[0]!.inputIds], inputIds);
    assert.equal([...examples[0]!.tokenTypeIds], tokenTypeIds);
  }
});

test('rows in windows: a label for each window, one tag for each word', () => {
  const { text } = golden.windows[0]!;
  const options = { tokenizer, maxLength: 16, longTexts: 'windows', stride: 4 } as const;
  const rows = [
    { text, label: 'b' },
    { text: 'a', label: 'a' },
  ];
  const { examples, truncated } = encodeRows(rows, 'text-classification', { ...options, labels: ['a', 'b'] });
  assert.is(truncated, 0);
  assert.ok(examples.length > 3);
  assert.equal(
    examples.map(({ row, label }) => [row, label]),
    examples.map((_, index) => (index === examples.length - 1 ? [1, 0] : [0, 1])),
  );
  const tokens = text.split(' ');
  const tags = tokens.map((_, word) => (word % 3 === 0 ? 'B-X' : word % 3 === 1 ? 'I-X' : 'O'));
  for (const labelPieces of ['first', 'all', 'all-inside'] as const) {
    const { examples } = encodeRows([{ tokens, tags }], 'token-classification', {
      ...options,
      labelPieces,
      labels: ['O', 'B-X', 'I-X'],
    });
    const whole = tokenizer.encodeWords(tokens);
    const counts = [0, 0, 0];
    for (const { tokenLabels } of examples) for (const label of tokenLabels!) if (label >= 0) counts[label]!++;
    const pieces = whole.wordIds.filter((word) => word >= 0).length;
    assert.is(counts[0]! + counts[1]! + counts[2]! <= pieces, true);
    if (labelPieces === 'first') assert.is(counts[0]! + counts[1]! + counts[2]!, tokens.length);
    if (labelPieces === 'all-inside') assert.is(counts[1], tags.filter((tag) => tag === 'B-X').length);
  }
});

test('label pieces: first alone, all the same, or the others inside', async () => {
  const labels = ['O', 'B-X', 'I-X'];
  const row = { tokens: ['unknownx', 'a', 'xyz'], tags: ['B-X', 'I-X', 'O'] };
  const { wordIds } = tokenizer.encodeWords(row.tokens);
  const expected = { first: [-100, -100, -100], all: [1, 2, 0], 'all-inside': [2, 2, 0] };
  for (const labelPieces of ['first', 'all', 'all-inside'] as const) {
    const options = { tokenizer, maxLength: 64, labels, labelPieces };
    const { tokenLabels } = encodeRows([row], 'token-classification', options).examples[0]!;
    const wanted = [...wordIds].map((word, token) => {
      if (word < 0) return -100;
      return word === wordIds[token - 1] ? expected[labelPieces][word] : [1, 2, 0][word];
    });
    assert.equal([...tokenLabels!], wanted, labelPieces);
  }
  const options = { tokenizer, maxLength: 64, labels: ['O', 'B-X'], labelPieces: 'all-inside' } as const;
  const only = { tokens: ['a'], tags: ['B-X'] };
  await expectError(() => encodeRows([only], 'token-classification', options), 'BAD_DATA', /labels but found "I-X"/);
});

test('a stride as long as a window is refused', async () => {
  const { text } = golden.windows[0]!;
  await expectError(
    () => cutWindows(tokenizer.encode(text), 16, 14),
    'BAD_OPTION',
    /stride: expected fewer than the 14 tokens that fit into a window of 16 beside the special ones but found 14/,
  );
});

test.run();
