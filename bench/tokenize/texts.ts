/** Texts that tokenizers are compared on: every text of the data sets, and hostile ones. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { seededRandom } from '../../lib/data/random.js';
import type { TokenizerInput } from '../../lib/data/tokenizer/tokenizer.js';

/** Files of `shared/data` whose rows hold texts. */
export function dataFiles(data: string): string[] {
  return readdirSync(data, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'movielens')
    .flatMap(({ name }) => readdirSync(join(data, name)).map((file) => join(name, file)))
    .filter((file) => file.endsWith('.jsonl'))
    .sort();
}

interface DataRow {
  text?: string;
  textPair?: string;
  tokens?: string[];
}

export function readRows(file: string): DataRow[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as DataRow);
}

/** A row as a tokenizer takes it; `as` says what becomes of words. */
export function inputOf({ text, textPair, tokens }: DataRow, as: 'words' | 'text'): TokenizerInput {
  if (tokens) {
    // One token a character is Chinese, which has no spaces.
    const separator = tokens.every((token) => token.length <= 1) ? '' : ' ';
    return as === 'words' ? { tokens } : tokens.join(separator);
  }
  return textPair === undefined ? text! : { text: text!, textPair };
}

const isSurrogate = (codePoint: number) => codePoint >= 0xd800 && codePoint <= 0xdfff;

/** Every code point of all planes, alone. */
export function codePointsAlone(): string[] {
  const texts: string[] = [];
  for (let codePoint = 0; codePoint <= 0x10ffff; codePoint++)
    if (!isSurrogate(codePoint)) texts.push(String.fromCodePoint(codePoint));
  return texts;
}

/** Every code point of all planes between letters, after one, alone, twice, and beside an accent; 32 of them a text. */
export function codePointsInContext(): string[] {
  const contexts = codePointsAlone().map((c) => `a${c}b e${c} ${c} ${c}${c} n${c}\u0301o \u0301${c}`);
  return Array.from({ length: Math.ceil(contexts.length / 32) }, (_, at) =>
    contexts.slice(32 * at, 32 * at + 32).join(' '),
  );
}

const pieces = [
  ...'aAbBeEnNsSiIoO019 .,!?\'"()[]{}<>#@-_',
  ...[' ', ' ', ' ', '  ', '\t', '\n', '\r\n', '\u000b', '\u000c', '\u0085', '\u00a0', '\u2003', '\u3000', '\u2028'],
  ...[
    '\u0000',
    '\u0001',
    '\u007f',
    '\u009f',
    '\u00ad',
    '\u200b',
    '\u200d',
    '\u200e',
    '\u2060',
    '\ufeff',
    '\ufffd',
    '\ufffe',
  ],
  ...['é', 'e\u0301', 'ñ', 'Å', '\u212b', 'ø', 'ß', 'ẞ', 'İ', 'ı', 'Σ', 'ς', 'ǆ', 'ﬁ', 'ŉ', 'ḍ\u0307'],
  ...[
    '\u0300',
    '\u0301',
    '\u0323',
    '\u0327',
    '\u0344',
    '\u0345',
    '\u0334',
    '\u05b0',
    '\u064b',
    '\u0f71',
    '\u0f72',
    '\u0f73',
    '\u3099',
  ],
  ...['\u302e', '\u302f', '\u{1d15e}', '\u{1d160}', '\u{1d165}', '\u{1d16d}', '\u{1d167}', '\u{16ff0}', '\u{11930}'],
  ...[
    '中',
    '文',
    '國',
    '\uf900',
    '\u{20000}',
    '\u{2f800}',
    'の',
    'カ',
    'ｶ\uff9e',
    '한',
    '각',
    '\u1112\u1161\u11ab',
    '\u1161',
  ],
  ...['Ж', 'й', 'ё', 'ع', 'شُ', 'ש', 'हि', 'ภา', 'ក្', '\u0958', '\u09dc', 'ა', 'Ა', 'Ꭰ', 'ꭰ'],
  ...['😀', '👍🏽', '👨‍👩‍👧‍👦', '🇩🇪', '❤️', '☃', '\u{e0041}', '\u{f0000}', '\u{10ffff}', '\u{1d400}', '𐐀'],
  ...[
    '[CLS]',
    '[SEP]',
    '[MASK]',
    '[mask]',
    '[UNK]',
    '<mask>',
    '<s>',
    '<unk>',
    '≮unk>',
    'the',
    'ing',
    'embedding',
    'unaffable',
  ],
];

/** Texts of pieces from everywhere, the same ones each time. */
export function randomTexts(count: number, seed = 20261125): string[] {
  const random = seededRandom(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const planes = [0x80, 0x250, 0x600, 0x1200, 0x2c00, 0xa000, 0xd800, 0x12000, 0x1f000, 0x30000, 0xe0200, 0x110000];
  return Array.from({ length: count }, () => {
    let text = '';
    for (let length = 1 + below(40); length > 0; length--) {
      if (random() < 0.8) {
        text += pieces[below(pieces.length)]!;
        continue;
      }
      const codePoint = below(planes[below(planes.length)]!);
      if (!isSurrogate(codePoint)) text += String.fromCodePoint(codePoint);
    }
    return text;
  });
}

/** Long words and texts. */
export function hugeTexts(): string[] {
  const sentence = 'The quick brown fox, jumps över the lazy dog; 中文 [MASK] 12,345.67! ';
  return [
    'a'.repeat(2 ** 20),
    `${'é'.repeat(2 ** 20)}\u0301 x`,
    `a\u0301`.repeat(2 ** 19),
    '😀'.repeat(2 ** 19),
    '中'.repeat(2 ** 20),
    '.'.repeat(2 ** 20),
    ' '.repeat(2 ** 20),
    '\u200b'.repeat(2 ** 20),
    '[MASK]'.repeat(2 ** 16),
    sentence.repeat(Math.ceil((10 * 2 ** 20) / sentence.length)),
    ...['x'.repeat(99), 'x'.repeat(100), 'x'.repeat(101), 'é'.repeat(100), 'é'.repeat(101), '😀'.repeat(101)],
    ...['', ' ', '\u0000', '\u0301', '\u200b\u200b', '.', '\n\n'],
  ];
}
