/** Ids, offsets and word indices against Hugging Face's tokenizers (golden files of test/fixtures/make_tokenizer.py). */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  createTokenizer,
  loadTokenizer,
  type Encoding,
  type Tokenizer,
} from '../../../lib/data/tokenizer/tokenizer.js';
import { expectError, root, sharedFolder, skip, temporaryFolder } from '../../harness.js';

interface Case {
  tokenizer: string;
  text?: string;
  pair?: string;
  input?: string[];
  maxLength?: number;
  truncated?: boolean;
  ids: number[];
  offsets: number[];
  words: number[];
  types?: number[];
}

const golden = JSON.parse(readFileSync(join(root, 'test/fixtures/tokenizer/cases.json'), 'utf8')) as {
  base: { normalizer: object; model: object };
  normalizers: Record<string, object>;
  vocabulary: string[];
  cases: Case[];
};

function goldenTokenizer(name: string, changes: object = {}): Tokenizer {
  const json = {
    ...golden.base,
    normalizer: { ...golden.base.normalizer, ...golden.normalizers[name] },
    model: { ...golden.base.model, vocab: Object.fromEntries(golden.vocabulary.map((token, id) => [token, id])) },
    ...changes,
  };
  return createTokenizer(json, 'tokenizer.json');
}

for (const name of Object.keys(golden.normalizers)) {
  const cases = golden.cases.filter((one) => one.tokenizer === name);
  test(`${name}: ${cases.length} texts as Hugging Face tokenizes them`, () => {
    const tokenizer = goldenTokenizer(name);
    for (const one of cases) {
      const options = { textPair: one.pair, maxLength: one.maxLength };
      const found = one.input ? tokenizer.encodeWords(one.input, options) : tokenizer.encode(one.text!, options);
      const what = JSON.stringify(one.input ?? one.text);
      assert.equal([...found.inputIds], one.ids, `ids of ${what}`);
      assert.equal([...found.offsets], one.offsets, `offsets of ${what}`);
      assert.equal([...found.wordIds], one.words, `words of ${what}`);
      assert.equal([...found.tokenTypeIds], one.types ?? one.ids.map(() => 0), `types of ${what}`);
      assert.is(found.truncated, one.truncated ?? false, `truncation of ${what}`);
    }
  });
}

test('every text of the real data sets, with the whole vocabulary', async () => {
  const [data, model] = [sharedFolder('data'), sharedFolder('models/minilm-l6')];
  if (!data || !model) return skip('shared/data and shared/models/minilm-l6 are not beside this checkout');
  const tokenizer = await loadTokenizer(model);
  const corpora = JSON.parse(readFileSync(join(root, 'test/fixtures/tokenizer/corpora.json'), 'utf8')) as Record<
    string,
    { texts: number; sha256: string }
  >;
  for (const [path, expected] of Object.entries(corpora)) {
    if (!existsSync(join(data, path))) continue;
    const hash = createHash('sha256');
    const lines = readFileSync(join(data, path), 'utf8').trimEnd().split('\n');
    assert.is(lines.length, expected.texts, path);
    for (const line of lines) {
      const row = JSON.parse(line) as { text?: string; tokens?: string[] };
      const { inputIds, offsets, wordIds } = tokenizer.encode(row.text ?? row.tokens!.join(''));
      hash.update(`${[...inputIds, ...offsets, ...wordIds].join(',')}\n`);
    }
    assert.is(hash.digest('hex'), expected.sha256, path);
  }
});

test('the same text gives the same tokens whatever was tokenized before', () => {
  const texts = golden.cases.filter((one) => one.tokenizer === 'uncased' && one.text).map((one) => one.text!);
  const tokenizer = goldenTokenizer('uncased');
  const first = texts.map((text) => tokenizer.encode(text));
  for (let word = 0; word < 80_000; word++) tokenizer.encode(`filler${word}`);
  texts.forEach((text, index) => assert.equal(tokenizer.encode(text), first[index], JSON.stringify(text)));
});

test('a lone surrogate counts as U+FFFD', () => {
  const clean = goldenTokenizer('uncased');
  const raw = goldenTokenizer('raw');
  for (const lone of ['\ud800', '\udfff', '\udc00\ud800']) {
    const replaced = lone.replace(/[\s\S]/g, '\ufffd');
    assert.equal(clean.encode(`a${lone}b c`), clean.encode(`a${replaced}b c`));
    assert.equal(raw.encode(`a${lone}b c`), raw.encode(`a${replaced}b c`));
  }
});

test('a word of ten million letters is one unknown token, whatever stands at its end', () => {
  const tokenizer = goldenTokenizer('uncased');
  const letters = 10_000_000;
  for (const [end, visible] of [
    ['', 0],
    ['\u0301\u0301', 0],
    ['😀', 2],
    ['\u{1d400}\u{e0041}\u200b', 2],
    ['\ud83d', 0],
  ] as const) {
    const { inputIds, offsets, truncated } = tokenizer.encode(`${'a'.repeat(letters)}${end} b`);
    assert.equal(
      [...inputIds],
      ['[CLS]', '[UNK]', 'b', '[SEP]'].map((token) => golden.vocabulary.indexOf(token)),
    );
    assert.equal([...offsets.subarray(2, 4)], [0, letters + visible], JSON.stringify(end));
    assert.is(truncated, false);
  }
});

test('a long text is cut to maxLength without being tokenized to its end', () => {
  const tokenizer = goldenTokenizer('uncased');
  const { inputIds, truncated } = tokenizer.encode('a '.repeat(5_000_000), { maxLength: 512 });
  assert.is(inputIds.length, 512);
  assert.is(inputIds[511], golden.vocabulary.indexOf('[SEP]'));
  assert.is(truncated, true);
});

test('added tokens: white space, single words, normalized text', () => {
  const id = golden.vocabulary.length;
  const added = (fields: object) =>
    goldenTokenizer('uncased', {
      added_tokens: [
        { id, content: 'Tag', single_word: false, lstrip: false, rstrip: false, normalized: false, ...fields },
      ],
    });
  const found = ({ inputIds, offsets }: Encoding) =>
    [...inputIds].flatMap((one, row) => (one === id ? [[offsets[2 * row], offsets[2 * row + 1]]] : []));
  assert.equal(found(added({}).encode('a Tag tag xTag')), [
    [2, 5],
    [11, 14],
  ]);
  assert.equal(found(added({ single_word: true }).encode('a Tag tag xTag')), [[2, 5]]);
  assert.equal(found(added({ lstrip: true }).encode('a  Tag b')), [[1, 6]]);
  assert.equal(found(added({ rstrip: true }).encode('a  Tag  b')), [[3, 8]]);
  assert.equal(found(added({ normalized: true }).encode('TÀG Ta\u0301g tag')), [
    [0, 3],
    [4, 8],
    [9, 12],
  ]);
});

interface OtherKind {
  name: string;
  tokenizer: object;
  cases: (Pick<Case, 'text' | 'pair' | 'input' | 'maxLength' | 'ids' | 'types'> & { words?: number[] })[];
}

const others = JSON.parse(readFileSync(join(root, 'test/fixtures/tokenizer/other.json'), 'utf8')) as OtherKind[];
for (const { name, tokenizer: json, cases } of others) {
  test(`another kind: ${name}: ids as Hugging Face gives them`, () => {
    const tokenizer = createTokenizer(json, 'tokenizer.json');
    assert.is(tokenizer.hasOffsets, name !== 'Unigram');
    for (const one of cases) {
      const options = { textPair: one.pair, maxLength: one.maxLength };
      const found = one.input ? tokenizer.encodeWords(one.input, options) : tokenizer.encode(one.text!, options);
      const what = JSON.stringify(one.input ?? one.text);
      assert.equal([...found.inputIds], one.ids, `ids of ${what}`);
      if (one.types) assert.equal([...found.tokenTypeIds], one.types, `types of ${what}`);
      if (one.words) assert.equal([...found.wordIds], one.words, `words of ${what}`);
    }
  });
}

interface RobertaKinds {
  real: string[];
  kinds: { name: string; tokenizer: { model: object | null }; modelOf: number; cases: Case[]; sha256: string }[];
}

const roberta = JSON.parse(readFileSync(join(root, 'test/fixtures/tokenizer/roberta.json'), 'utf8')) as RobertaKinds;
for (const { name, tokenizer: json, modelOf, cases, sha256 } of roberta.kinds) {
  const create = () =>
    createTokenizer({ ...json, model: roberta.kinds[modelOf]!.tokenizer.model }, 'tokenizer.json', {
      vocabulary: 800,
      tokenTypes: 1,
    });

  test(`${name}: ${cases.length} hostile texts as Hugging Face tokenizes them`, () => {
    const tokenizer = create();
    assert.is(tokenizer.hasOffsets, true);
    for (const one of cases) {
      const options = { textPair: one.pair, maxLength: one.maxLength };
      const found = one.input ? tokenizer.encodeWords(one.input, options) : tokenizer.encode(one.text!, options);
      const what = JSON.stringify(one.input ?? one.text);
      assert.equal([...found.inputIds], one.ids, `ids of ${what}`);
      assert.equal([...found.offsets], one.offsets, `offsets of ${what}`);
      assert.equal([...found.wordIds], one.words, `words of ${what}`);
      assert.equal([...found.tokenTypeIds], one.types ?? one.ids.map(() => 0), `types of ${what}`);
    }
  });

  test(`${name}: ${roberta.real.length} real texts as Hugging Face tokenizes them`, () => {
    const tokenizer = create();
    const hash = createHash('sha256');
    for (const text of roberta.real) {
      const { inputIds, offsets, wordIds } = tokenizer.encode(text);
      hash.update(`${[...inputIds, ...offsets, ...wordIds].join(',')}\n`);
    }
    assert.is(hash.digest('hex'), sha256);
  });
}

test('byte-level: a word of a million letters, and lone surrogates', () => {
  const [kind] = roberta.kinds;
  const tokenizer = createTokenizer(kind!.tokenizer, 'tokenizer.json');
  const long = tokenizer.encode('the'.repeat(333_333));
  assert.is(long.offsets.at(-3), 999_999);
  assert.ok(long.inputIds.length < 700_000);
  assert.equal(tokenizer.encode('a\ud800b'), tokenizer.encode('a\ufffdb'));
  const cut = tokenizer.encode('a '.repeat(1_000_000), { maxLength: 512 });
  assert.is(cut.inputIds.length, 512);
  assert.is(cut.truncated, true);
});

test('a tokenizer that cannot be that of the model is refused as it is loaded', async () => {
  const [kind] = roberta.kinds;
  const create = (model: { vocabulary: number; tokenTypes: number }, changes: object = {}) =>
    createTokenizer({ ...kind!.tokenizer, ...changes }, 'models/x/tokenizer.json', model);
  await expectError(
    () => create({ vocabulary: 700, tokenTypes: 1 }),
    'BAD_CHECKPOINT',
    /models\/x\/tokenizer\.json: expected ids below 700, .* but found 700; .*another model/,
  );
  const twoTypes = { type: 'BertProcessing', sep: ['</s>', 2], cls: ['<s>', 0] };
  create({ vocabulary: 701, tokenTypes: 2 }, { post_processor: twoTypes });
  create({ vocabulary: 701, tokenTypes: 0 }, { post_processor: twoTypes });
  await expectError(
    () => create({ vocabulary: 701, tokenTypes: 1 }, { post_processor: twoTypes }),
    'BAD_CHECKPOINT',
    /models\/x\/tokenizer\.json: post_processor: expected token types below 1, .* but found 1/,
  );
});

test('bad tokenizer files are named', async () => {
  await expectError(
    () => loadTokenizer('/nowhere'),
    'BAD_CHECKPOINT',
    /nowhere\/tokenizer\.json: no such file; expected the tokenizer/,
  );
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'vocab.txt'), '[PAD]\n');
  await expectError(
    () => loadTokenizer(folder),
    'BAD_CHECKPOINT',
    /no such file; expected the tokenizer of the checkpoint; what vocab\.txt holds has to be saved as tokenizer\.json first/,
  );
  writeFileSync(join(folder, 'tokenizer.json'), '{"model":');
  await expectError(() => loadTokenizer(folder), 'BAD_CHECKPOINT', /tokenizer\.json: expected JSON but found/);
  await expectError(
    () => goldenTokenizer('uncased', { model: { type: 'WordPeice', vocab: { a: 0 } } }),
    'UNSUPPORTED',
    /tokenizer\.json: model\.type: expected WordPiece, BPE, .* but found "WordPeice"; did you mean "WordPiece"\?/,
  );
  await expectError(
    () => goldenTokenizer('uncased', { model: { type: 'Unigram', vocab: { a: 0 } } }),
    'BAD_CHECKPOINT',
    /tokenizer\.json: model: expected what its type needs/,
  );
  await expectError(
    () => goldenTokenizer('uncased', { normalizer: { type: 'Magic' } }),
    'UNSUPPORTED',
    /expected a tokenizer of a known kind but found: .*Magic/,
  );
  await expectError(
    () => goldenTokenizer('uncased', { model: { type: 'WordPiece', vocab: { a: 0 } } }),
    'BAD_CHECKPOINT',
    /unknown token "\[UNK\]"/,
  );
  for (const type of ['WordPiece', 'BPE', 'Unigram', 'WordLevel'])
    await expectError(
      () => goldenTokenizer('uncased', { model: { type, vocab: type === 'Unigram' ? [] : {}, merges: [] } }),
      'BAD_CHECKPOINT',
      /tokenizer\.json: model\.vocab: expected words with their ids but found none/,
    );
  const bytePairs = (model: object) =>
    goldenTokenizer('uncased', {
      ...{ normalizer: null, pre_tokenizer: { type: 'ByteLevel' } },
      model: { type: 'BPE', vocab: { a: 0, b: 1 }, ...model },
    });
  await expectError(
    () => bytePairs({ merges: 'ab' }),
    'BAD_CHECKPOINT',
    /\(model\): merges: expected a list but found "ab"/,
  );
  await expectError(
    () => bytePairs({ merges: [['a', 'b']] }),
    'BAD_CHECKPOINT',
    /tokenizer\.json \(model\): expected .*"a" and "b".*vocabulary/,
  );
  await expectError(
    () => goldenTokenizer('uncased', { model: { type: 'WordPiece', vocab: { a: 'x' } } }),
    'BAD_CHECKPOINT',
    /tokenizer\.json \(model\): vocab\.a: expected a whole number but found "x"/,
  );
  await expectError(
    () => goldenTokenizer('uncased', { post_processor: { type: 'ByteLevel' } }),
    'UNSUPPORTED',
    /post_processor of type .* but found ByteLevel/,
  );
  await expectError(
    () => goldenTokenizer('uncased').encode('a', { maxLength: 2 }),
    'BAD_OPTION',
    /at least 3.* but found 2/,
  );
});

test.run();
