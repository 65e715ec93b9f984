/**
 * WordPiece beside @huggingface/tokenizers: the ids of real texts, and of random ones from scripts that the library
 * treats as Hugging Face's own library (Rust) does. Where the two differ, whittle follows the Rust one, which the golden
 * files hold it to:
 *
 * - Chinese characters outside the basic plane (U+20000 on) are words of their own; in JavaScript they are not.
 * - Σ always becomes σ; in JavaScript ς at the end of a word.
 * - Which code points are marks and punctuation: Unicode as of the Rust library's tables; in JavaScript as of Node's.
 * - U+0085 is white space and U+FEFF is not, where clean_text is off; in JavaScript the other way round.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as LibraryPipeline } from '@huggingface/tokenizers';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { seededRandom } from '../../lib/data/random.js';
import { encodingOf } from '../../lib/data/tokenizer/encoded-batch.js';
import { createTokenizer } from '../../lib/data/tokenizer/tokenizer.js';
import { root, sharedFolder, skip } from '../harness.js';

function read(...path: string[]): unknown {
  return JSON.parse(readFileSync(join(...path), 'utf8'));
}

function expectSameIds(json: object, texts: readonly string[]): void {
  const library = new LibraryPipeline(json, {});
  const batch = createTokenizer(json, 'tokenizer.json').encodeBatch(texts);
  texts.forEach((text, index) => {
    const found = encodingOf(batch, index).inputIds.join();
    if (found === library.encode(text, { add_special_tokens: true }).ids.join()) return;
    assert.equal([...encodingOf(batch, index).inputIds], library.encode(text).ids, JSON.stringify(text.slice(0, 300)));
  });
}

const { real } = read(root, 'test/fixtures/tokenizer/roberta.json') as { real: string[] };
const pretrained = read(root, 'models/minilm-l6/tokenizer.json') as { normalizer: object };

test(`${real.length} real texts of the fixtures`, () => expectSameIds(pretrained, real));

test('every eighth text of the data sets', () => {
  const data = sharedFolder('data');
  if (!data) return skip('shared/data is not beside this checkout');
  const corpora = read(root, 'test/fixtures/tokenizer/corpora.json') as object;
  let texts = 0;
  for (const path of Object.keys(corpora).filter((one) => existsSync(join(data, one)))) {
    const lines = readFileSync(join(data, path), 'utf8').trimEnd().split('\n');
    const sample = lines
      .filter((_, index) => index % 8 === 0)
      .map((line) => JSON.parse(line) as Record<string, string[]>);
    const inputs = sample.map(({ text, tokens }) => (text as string | undefined) ?? tokens!.join(' '));
    expectSameIds(pretrained, inputs);
    texts += inputs.length;
  }
  console.log(`\nNOTE: ${texts} texts`);
});

/** First and last code points of Latin, Greek, Cyrillic, Thai, Japanese, Chinese, Korean, full-width forms, emoji. */
const scripts: [number, number][] = [
  [0x20, 0x7e],
  [0x20, 0x7e],
  [0xa0, 0x250],
  [0x300, 0x33f],
  [0x3b1, 0x3ff],
  [0x400, 0x4ff],
  [0xe01, 0xe2f],
  [0x2010, 0x2027],
  [0x3041, 0x30ff],
  [0x4e00, 0x9fa5],
  [0xac00, 0xd7a3],
  [0xff01, 0xff9f],
  [0x1f600, 0x1f64f],
];

test('20,000 random texts under each kind of normalizer', () => {
  const seed = 11;
  const random = seededRandom(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const texts = Array.from({ length: 5000 }, () => {
    let text = '';
    for (let words = below(20); words >= 0; words--) {
      const [first, last] = scripts[below(scripts.length)]!;
      for (let letters = below(8); letters >= 0; letters--)
        text += String.fromCodePoint(first + below(last - first + 1));
      if (random() < 0.7) text += ' ';
    }
    return text;
  });
  for (const normalizer of [
    {},
    { lowercase: false },
    { strip_accents: false },
    { clean_text: false, handle_chinese_chars: false, strip_accents: true, lowercase: false },
  ])
    expectSameIds({ ...pretrained, normalizer: { ...pretrained.normalizer, ...normalizer } }, texts);
});

test.run();
