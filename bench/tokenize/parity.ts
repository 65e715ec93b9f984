/** whittle's tokens beside those of Hugging Face's Rust library: ids, token types, word indices, offsets. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodingOf, type EncodedBatch } from '../../lib/data/tokenizer/encoded-batch.js';
import { createTokenizer, type TokenizerInput } from '../../lib/data/tokenizer/tokenizer.js';
import { codePointsAlone, codePointsInContext, dataFiles, hugeTexts, inputOf, randomTexts, readRows } from './texts.js';

interface Group {
  name: string;
  /** Contents of a tokenizer.json. */
  tokenizer: object;
  maxLength?: number;
  /** All of one form. */
  inputs: TokenizerInput[];
}

export interface Parity {
  name: string;
  inputs: number;
  tokens: number;
  /** The first inputs with other tokens. */
  different: TokenizerInput[];
  differences: number;
}

/** Compares the groups with `word` in their name one by one, telling each as it is done. */
export function compareAll(shared: string, python: string, word: string, tell: (found: Parity) => void): Parity[] {
  const folder = mkdtempSync(join(tmpdir(), 'whittle-tokenize-'));
  try {
    const found: Parity[] = [];
    for (const group of groups(shared)) {
      if (!group.name.includes(word)) continue;
      found.push(compare(group, python, folder));
      tell(found.at(-1)!);
    }
    return found;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type TokenizerJson = {
  normalizer: object;
  added_tokens: { id: number; content: string }[];
};

/** Tokenizers, and what each is tried on. */
function* groups(shared: string): Generator<Group> {
  const read = (model: string) =>
    JSON.parse(readFileSync(join(shared, 'models', model, 'tokenizer.json'), 'utf8')) as TokenizerJson;
  const uncased = read('minilm-l6');
  const changed = (normalizer: object) => ({ ...uncased, normalizer: { ...uncased.normalizer, ...normalizer } });
  const tokenizers: Record<string, object> = {
    uncased,
    cased: changed({ lowercase: false }),
    accented: changed({ strip_accents: false }),
    raw: changed({ clean_text: false, handle_chinese_chars: false, strip_accents: true, lowercase: false }),
    added: withAddedTokens(uncased),
    mpnet: read('mpnet-base'),
  };
  const data = join(shared, 'data');
  for (const file of dataFiles(data)) {
    const rows = readRows(join(data, file));
    for (const as of ['text', 'words'] as const) {
      if (as === 'words' && !rows[0]?.tokens) continue;
      const inputs = rows.map((row) => inputOf(row, as));
      for (const name of ['uncased', 'mpnet'])
        yield { name: `${name}: ${file} as ${as}`, tokenizer: tokenizers[name]!, inputs };
    }
  }
  const random = randomTexts(40_000);
  for (const [name, tokenizer] of Object.entries(tokenizers)) {
    yield { name: `${name}: random texts`, tokenizer, inputs: random };
    yield { name: `${name}: long words and texts`, tokenizer, inputs: hugeTexts() };
    for (const maxLength of [5, 8, 24]) {
      const words = random.slice(0, 9000).map((text) => ({ tokens: text.split(' ') }));
      const pairs = random.slice(0, 9000).map((text, at) => ({ text, textPair: random[(at * 7) % random.length]! }));
      yield { name: `${name}: words cut to ${maxLength}`, tokenizer, maxLength, inputs: words };
      yield { name: `${name}: pairs cut to ${maxLength}`, tokenizer, maxLength, inputs: pairs };
      yield { name: `${name}: texts cut to ${maxLength}`, tokenizer, maxLength, inputs: random.slice(0, 9000) };
    }
  }
  yield { name: 'uncased: every code point alone', tokenizer: uncased, inputs: codePointsAlone() };
  const inContext = codePointsInContext();
  for (const [name, tokenizer] of Object.entries(tokenizers))
    yield { name: `${name}: every code point in context`, tokenizer, inputs: inContext };
}

/** Tokens with every combination of flags, found in the text as given or normalized. */
function withAddedTokens(json: TokenizerJson): object {
  const contents = [
    'Tag',
    'the',
    'é',
    '中',
    ' b',
    '≮',
    'ßs',
    '[X] ',
    '😀',
    'a\u0301',
    'İ',
    '\u302e',
    '\u200d',
    '<x>',
    'E.',
  ];
  const flags = ['single_word', 'lstrip', 'rstrip', 'normalized'];
  const known = new Set(json.added_tokens.map(({ content }) => content));
  const added = contents.flatMap((content, at) =>
    [0, 1, 2].flatMap((variant) => {
      const bits = (at * 3 + variant * 5) % 16;
      const full = content + '!'.repeat(variant);
      const set = Object.fromEntries(flags.map((flag, bit) => [flag, ((bits >> bit) & 1) === 1]));
      return known.has(full) ? [] : [{ content: full, special: false, ...set }];
    }),
  );
  const vocabulary = 30_522;
  // The library gives a token that is in the vocabulary its id there.
  const { vocab } = (json as unknown as { model: { vocab: Record<string, number> } }).model;
  let next = vocabulary;
  const numbered = added.map((token) => ({ id: vocab[token.content] ?? next++, ...token }));
  return { ...json, added_tokens: [...json.added_tokens, ...numbered].sort((a, b) => a.id - b.id) };
}

function compare({ name, tokenizer: json, maxLength, inputs }: Group, python: string, folder: string): Parity {
  const script = join(dirname(fileURLToPath(import.meta.url)), 'fingerprints.py');
  const [cases, output] = [join(folder, 'cases.json'), join(folder, 'fingerprints.bin')];
  const group = { tokenizer: 0, maxLength: maxLength ?? null, inputs };
  writeFileSync(cases, JSON.stringify({ tokenizers: [json], groups: [group] }));
  const result = spawnSync(python, [script, cases, output], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`${name}: ${result.stderr}`);
  const expected = readFileSync(output);
  const tokenizer = createTokenizer(json, name);
  const found: Parity = { name, inputs: inputs.length, tokens: 0, different: [], differences: 0 };
  const size = 1000;
  let batch: EncodedBatch | undefined;
  inputs.forEach((input, index) => {
    const options = { maxLength, words: true, places: true };
    if (index % size === 0) batch = tokenizer.encodeBatch(inputs.slice(index, index + size), options);
    const encoding = encodingOf(batch!, index % size);
    found.tokens += encoding.inputIds.length;
    const hash = createHash('md5');
    for (const column of [encoding.inputIds, encoding.tokenTypeIds, encoding.wordIds, encoding.offsets])
      hash.update(column);
    if (
      hash
        .digest()
        .subarray(0, 8)
        .equals(expected.subarray(8 * index, 8 * index + 8))
    )
      return;
    found.differences++;
    if (found.different.length < 5) found.different.push(input);
  });
  return found;
}
