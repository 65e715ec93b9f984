/**
 * WordPiece against Hugging Face's tokenizers (golden file of test/fixtures/make_word_piece.py): every code point, marks
 * that canonical ordering moves, added tokens with all their flags. Bad input, huge input, batches, worker threads.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { seededRandom } from '../../../lib/data/random.js';
import { encodingOf } from '../../../lib/data/tokenizer/encoded-batch.js';
import { createTokenizer, type Tokenizer, type TokenizerInput } from '../../../lib/data/tokenizer/tokenizer.js';
import { expectError, root, temporaryFolder } from '../../harness.js';

interface Case {
  text: string;
  ids: number[];
  offsets: number[];
  words: number[];
}

const golden = JSON.parse(readFileSync(join(root, 'test/fixtures/tokenizer/word-piece.json'), 'utf8')) as {
  letters: string;
  normalizers: Record<string, object>;
  planes: Record<string, string[]>;
  ordered: (Case & { normalizer: string })[];
  added: { tokenizer: { model: object; added_tokens: object[] }; cases: Case[] }[];
};

const letters = Array.from(golden.letters);
const vocab = Object.fromEntries(
  ['[UNK]', ...letters, ...letters.map((letter) => `##${letter}`)].map((token, id) => [token, id]),
);

function build(normalizer: string, changes: object = {}): Tokenizer {
  const json = {
    normalizer: { type: 'BertNormalizer', ...golden.normalizers[normalizer] },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    model: { type: 'WordPiece', vocab },
    ...changes,
  };
  return createTokenizer(json, 'tokenizer.json');
}

function* codePoints(plane: number) {
  for (let codePoint = plane << 16; codePoint < (plane + 1) << 16; codePoint++)
    if (codePoint < 0xd800 || codePoint > 0xdfff) yield String.fromCodePoint(codePoint);
}

for (const name of Object.keys(golden.normalizers)) {
  test(`${name}: every code point of all planes as Hugging Face tokenizes it`, () => {
    const tokenizer = build(name);
    golden.planes[name]!.forEach((sha256, plane) => {
      const hash = createHash('sha256');
      const texts = Array.from(codePoints(plane), (x) => `a${x}b ${x} e${x}${x}\u0301`);
      const batch = tokenizer.encodeBatch(texts, { words: true, places: true });
      texts.forEach((_, index) => {
        const { inputIds, offsets, wordIds } = encodingOf(batch, index);
        hash.update(`${inputIds.join(',')},${offsets.join(',')},${wordIds.join(',')}\n`);
      });
      assert.is(hash.digest('hex'), sha256, `plane ${plane}`);
    });
  });
}

function expectCase(tokenizer: Tokenizer, { text, ids, offsets, words }: Case): void {
  const found = tokenizer.encode(text);
  const what = JSON.stringify(text);
  assert.equal([...found.inputIds], ids, `ids of ${what}`);
  assert.equal([...found.offsets], offsets, `offsets of ${what}`);
  assert.equal(
    [...found.wordIds],
    words.map((word) => word ?? -1),
    `words of ${what}`,
  );
}

test(`${golden.ordered.length} texts of marks that canonical ordering moves`, () => {
  const tokenizers = Object.fromEntries(Object.keys(golden.normalizers).map((name) => [name, build(name)]));
  for (const one of golden.ordered) expectCase(tokenizers[one.normalizer]!, one);
});

golden.added.forEach(({ tokenizer: json, cases }, index) => {
  test(`added tokens ${index}: ${cases.length} texts as Hugging Face tokenizes them`, () => {
    const tokenizer = createTokenizer({ ...json, model: { ...json.model, vocab } }, 'tokenizer.json');
    for (const one of cases) expectCase(tokenizer, one);
  });
});

/** A tokenizer with special tokens, for batches. */
function bert(): Tokenizer {
  const [cls, sep] = [letters.length * 2 + 1, letters.length * 2 + 2];
  return build('uncased', {
    post_processor: { type: 'BertProcessing', cls: ['[CLS]', cls], sep: ['[SEP]', sep] },
    added_tokens: [
      { id: cls, content: '[CLS]' },
      { id: sep, content: '[SEP]' },
    ],
  });
}

test('a batch holds what its inputs give alone, sync and async, on any number of threads', async () => {
  const tokenizer = bert();
  const random = seededRandom(7);
  const word = () => Array.from({ length: 1 + random() * 6 }, () => letters[Math.floor(random() * 90)]).join('');
  const words = () => Array.from({ length: random() * 20 }, word);
  const inputs = Array.from({ length: 3000 }, (): TokenizerInput => {
    const kind = random();
    if (kind < 0.4) return words().join(' ');
    if (kind < 0.6) return { text: words().join(' '), textPair: words().join(' ') };
    return kind < 0.7 ? { text: words().join(' ') } : { tokens: words() };
  });
  for (const maxLength of [undefined, 16]) {
    const alone = inputs.map((input) => {
      if (typeof input === 'string') return tokenizer.encode(input, { maxLength });
      if ('tokens' in input) return tokenizer.encodeWords(input.tokens, { maxLength });
      return tokenizer.encode(input.text, { textPair: input.textPair, maxLength });
    });
    for (const threads of [1, 3]) {
      const options = { maxLength, words: true, places: true, threads };
      for (const batch of [tokenizer.encodeBatch(inputs, options), await tokenizer.encodeBatchAsync(inputs, options)])
        alone.forEach((one, index) => assert.equal(encodingOf(batch, index), one));
    }
  }
  const bare = tokenizer.encodeBatch(inputs.slice(0, 3));
  assert.is(bare.wordIds.length + bare.places.length, 0);
  assert.equal([...tokenizer.encodeBatch([]).offsets], [0]);
});

test('lone surrogates count as U+FFFD, at the ends of neighboring texts too', () => {
  const raw = build('raw');
  const halves = ['a\ud83d', '\ude00b'];
  const batch = raw.encodeBatch(halves, { places: true, words: true });
  halves.forEach((half, index) => {
    const replaced = half.replace(/\p{Surrogate}/u, '\ufffd');
    assert.equal(encodingOf(batch, index), raw.encode(replaced));
    assert.equal(raw.encodeWords(halves).inputIds, raw.encodeWords(['a\ufffd', '\ufffdb']).inputIds);
  });
});

test('a text of ten million characters, words of a million', () => {
  const tokenizer = bert();
  const sentence = 'The quick brown fox, [SEP] jumps over the lazy dog; 中文 é ';
  const count = Math.ceil(10_000_000 / sentence.length);
  const one = tokenizer.encode(sentence);
  const all = tokenizer.encode(sentence.repeat(count));
  assert.is(all.inputIds.length, (one.inputIds.length - 2) * count + 2);
  assert.is(all.offsets.at(-3), sentence.length * count - 1);
  assert.is(all.wordIds.at(-2), (one.wordIds.at(-2)! + 1) * count - 1);
  for (const [letter, tokens] of [
    ['a', 1],
    ['\u0301', 0],
    ['中', 2 ** 20],
    ['.', 2 ** 20],
    [' ', 0],
    ['\ud83d', 0],
  ] as const)
    assert.is(tokenizer.encode(letter.repeat(2 ** 20)).inputIds.length, tokens + 2, JSON.stringify(letter));
  const cut = tokenizer.encode(sentence.repeat(count), { maxLength: 128 });
  assert.equal([cut.inputIds.length, cut.truncated], [128, true]);
});

test('what is no text is refused', async () => {
  const tokenizer = bert();
  for (const wrong of [undefined, null, 3, {}, ['a']]) {
    await expectError(() => tokenizer.encode(wrong as never), 'BAD_DATA', /Expected a text to tokenize but found/);
    await expectError(() => tokenizer.encodeWords(['a', wrong as never]), 'BAD_DATA', /Expected a text to tokenize/);
  }
  await expectError(() => tokenizer.encode('a', { maxLength: 2 }), 'BAD_OPTION', /at least 3.*but found 2/);
  await expectError(() => tokenizer.encodeBatchAsync(['a'], { maxLength: NaN }), 'BAD_OPTION', /maxLength.*NaN/);
  const controller = new AbortController();
  controller.abort();
  await expectError(() => tokenizer.encodeBatchAsync(['a'], { signal: controller.signal }), 'ABORTED', /Stopped/);
});

test('eight worker threads tokenize at the same time', async () => {
  const module = (path: string) => JSON.stringify(pathToFileURL(join(root, path)).href);
  const file = join(temporaryFolder(), 'tokenize.mjs');
  writeFileSync(
    file,
    `import { parentPort, workerData } from 'node:worker_threads';
    import { tsImport } from ${JSON.stringify(import.meta.resolve('tsx/esm/api'))};
    const { createTokenizer } = await tsImport(${module('lib/data/tokenizer/tokenizer.ts')}, import.meta.url);
    const tokenizer = createTokenizer(workerData.json, 'tokenizer.json');
    const runs = await Promise.all(Array.from({ length: 20 }, () => tokenizer.encodeBatchAsync(workerData.texts)));
    parentPort.postMessage(runs.map(({ inputIds }) => inputIds.join()));`,
  );
  const texts = Array.from(
    { length: 2000 },
    (_, index) => `text ${index} of many, Ünïcode 中文 ${'ab'.repeat(index % 40)}`,
  );
  const json = {
    normalizer: { type: 'BertNormalizer' },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    model: { type: 'WordPiece', vocab },
  };
  const expected = createTokenizer(json, 'tokenizer.json').encodeBatch(texts).inputIds.join();
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => {
      const worker = new Worker(file, { workerData: { json, texts } });
      return new Promise<string[]>((done, fail) => worker.once('message', done).once('error', fail));
    }),
  );
  for (const answer of answers) assert.ok(answer.length === 20 && answer.every((ids) => ids === expected));
});

test.run();
