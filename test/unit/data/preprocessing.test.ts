import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeRows } from '../../../lib/data/encode.js';
import { loadDataset } from '../../../lib/data/load.js';
import type { PreprocessingOptions } from '../../../lib/data/preprocess/options.js';
import { Preprocessing, readPreprocessing } from '../../../lib/data/preprocess/preprocessing.js';
import { splitSentences, splitWords } from '../../../lib/data/preprocess/segment.js';
import { seededRandom } from '../../../lib/data/random.js';
import { loadTokenizer } from '../../../lib/data/tokenizer/tokenizer.js';
import { finetune } from '../../../lib/training/finetune.js';
import { quantize } from '../../../lib/compress/quantize.js';
import { Predictor } from '../../../lib/predict/predictor.js';
import { stepContext } from '../../../lib/step.js';
import { expectError, root, temporaryFolder } from '../../harness.js';

const tinyBert = join(root, 'test', 'fixtures', 'tiny-bert');

async function applied(text: string, ...steps: PreprocessingOptions): Promise<string> {
  return (await Preprocessing.create(steps)).apply(text).text;
}

test('every step does what it says', async () => {
  assert.is(await applied('Ｆｕｌｌ ① ﬁ e\u0301', { unicode: 'NFKC' }), 'Full 1 fi \u00e9');
  assert.is(await applied('e\u0301 ①', { unicode: 'NFC' }), '\u00e9 ①');
  assert.is(await applied('ÀÉ ΟΔΟΣ İ', 'lowercase'), 'àé οδος i\u0307');
  assert.is(
    await applied('AT&amp;T &lt;b&gt; &#39;x&#39; &#x4e2d;&nbsp;& &noentity;', 'htmlEntities'),
    "AT&T <b> 'x' 中\u00a0& &noentity;",
  );
  assert.is(await applied(' \ta \u00a0\n b\u3000c ', 'whitespace'), 'a b c');
  assert.is(await applied('This is the Lost card of my bank', { stopWords: 'en' }), 'Lost card bank');
  assert.is(await applied('我喜欢北京的天气', { stopWords: 'zh' }), '喜欢北京天气');
  assert.is(await applied('Not my card', { stopWords: { language: 'en', words: ['CARD'] } }), 'Not my ');
  assert.is(await applied('我喜欢北京。', { words: 'zh' }), '我 喜欢 北京 。');
  assert.is(await applied('Hello,world 2.5!', { words: 'en' }), 'Hello , world 2.5 !');
  const sentences = 'One is here. Two! Three? Four.';
  assert.is(await applied(sentences, { sentences: { language: 'en', first: 1 } }), 'One is here. ');
  assert.is(await applied(sentences, { sentences: { language: 'en', first: 1, last: 1 } }), 'One is here. Four.');
  assert.is(await applied('你好。我很好！再见', { sentences: { language: 'zh', last: 1 } }), '再见');
  assert.is(await applied('&#65;&amp;amp;', 'htmlEntities', 'lowercase'), 'a&amp;', 'in the order given, each once');
  assert.equal(splitWords("I don't know, 北京", 'en'), ['I', "don't", 'know', ',', '北京']);
  assert.equal(splitSentences('你好。 我很好！', 'zh'), ['你好。', '我很好！']);
});

const alphabet = [
  ...'abcXYZ  \t\n.,!?&;#',
  ...['&amp;', '&lt;', '&#39;', '\u00a0', '\u3000', '中', '国', '的', '北京', '。'],
  ...[
    'é',
    'e\u0301',
    '\u0301',
    '\u0327',
    'ﬁ',
    '①',
    'İ',
    'Σ',
    'ς',
    'ß',
    'ẞ',
    '한',
    '\u1112\u1161\u11ab',
    '가\u11a8',
    '\u1161',
  ],
  ...[
    'ｶ\uff9e',
    '\uff9f',
    '😀',
    '\ud83d',
    '\u0f71\u0f72',
    '\u0b47\u0b3e',
    '\u09c7\u09d7',
    '\u0344',
    '\u2126',
    'the ',
    'Is ',
  ],
];

test('Unicode normalization and lower-casing agree with the whole text, and places with what they stand for', async () => {
  const seed = 3;
  const random = seededRandom(seed);
  for (let round = 0; round < 3000; round++) {
    const text = Array.from(
      { length: Math.floor(random() * 14) },
      () => alphabet[Math.floor(random() * alphabet.length)],
    ).join('');
    const where = `seed ${seed}, round ${round}: ${JSON.stringify(text)}`;
    for (const form of ['NFC', 'NFD', 'NFKC', 'NFKD'] as const) {
      assert.is(await applied(text, { unicode: form }), text.normalize(form), `${where} ${form}`);
    }
    assert.is(await applied(text, 'lowercase'), text.toLowerCase(), where);
    const steps: PreprocessingOptions = [
      'htmlEntities',
      { unicode: 'NFKC' },
      { words: 'zh' },
      { stopWords: 'en' },
      'lowercase',
      'whitespace',
    ];
    const mapped = (await Preprocessing.create(steps)).apply(text);
    let last = 0;
    for (let unit = 0; unit < mapped.text.length; unit++) {
      const [start, end] = mapped.originalOf(unit, unit + 1);
      assert.ok(start >= 0 && end >= start && end <= text.length, `${where}: ${unit} is at ${start} to ${end}`);
      assert.ok(start >= last || end >= last, `${where}: places go backwards at ${unit}`);
      last = start;
      // A letter that the steps leave alone stands where it stood.
      if (/[a-z]/.test(mapped.text[unit]!) && end - start === 1)
        assert.ok(text[start]!.normalize('NFKC').toLowerCase().includes(mapped.text[unit]!), `${where}: unit ${unit}`);
    }
  }
});

test('tokens and entities tell places of the text as given', async () => {
  const preprocessing = await Preprocessing.create(['htmlEntities', { unicode: 'NFKC' }, 'lowercase', 'whitespace']);
  const tokenizer = await loadTokenizer(tinyBert, undefined, preprocessing);
  const text = '  &amp;  ＬＯＳＴ   card';
  const { offsets, inputIds, wordIds } = tokenizer.encode(text);
  const plain = (await loadTokenizer(tinyBert)).encode('& lost card');
  assert.equal(inputIds, plain.inputIds);
  const pieces = Array.from(wordIds, (word, token) =>
    word < 0 ? '' : text.slice(offsets[2 * token], offsets[2 * token + 1]),
  );
  const joined = pieces.join('');
  assert.is(joined, '&amp;ＬＯＳＴcard');
  const pair = tokenizer.encode('ＬＯＳＴ', { textPair: ' ｃａｒｄ' });
  const last = pair.wordIds.findLastIndex((word) => word >= 0);
  assert.equal([pair.offsets[2 * last + 1]], [5], 'in its own text');
  const words = tokenizer.encodeWords(['&amp;', 'ＬＯＳＴ']);
  const token = words.wordIds.indexOf(1);
  assert.is(words.offsets[2 * token], 0, 'in its own word');
});

test('what becomes empty: file and line in training, an error or abstention in prediction', async () => {
  const folder = temporaryFolder();
  cpSync(tinyBert, folder, { recursive: true });
  const preprocessing = await Preprocessing.create([{ stopWords: 'en' }]);
  writeFileSync(join(folder, 'preprocessing.json'), JSON.stringify(preprocessing));
  const tokenizer = await loadTokenizer(folder);
  await expectError(
    () =>
      encodeRows([{ text: 'lost card' }, { text: 'it is the' }], 'text-classification', {
        tokenizer,
        maxLength: 16,
        place: (row) => `train.jsonl:${row + 1}`,
      }),
    'BAD_DATA',
    /^train\.jsonl:2: expected text to be left after preprocessing but found none$/,
  );
  await using strict = await Predictor.load(folder);
  await expectError(
    () => strict.predict(['lost', 'it is the']),
    'BAD_DATA',
    /^input 1: expected text to be left after/,
  );
  await using lenient = await Predictor.load(folder, { emptyText: 'abstain' });
  const [lost, nothing] = await lenient.predict(['lost', 'it is the']);
  assert.is(nothing!.label, null);
  assert.equal(lost, (await lenient.predict(['the lost']))[0], 'stop words change nothing');
});

test('a model keeps its preprocessing through further steps, with the words of its lists', async () => {
  const folder = temporaryFolder();
  const rows = Array.from({ length: 40 }, (_, i) =>
    JSON.stringify({ text: i % 2 ? `LOST the card ${i}` : `top up ${i}`, label: i % 2 ? 'a' : 'b' }),
  );
  writeFileSync(join(folder, 'all.jsonl'), rows.join('\n'));
  const data = await loadDataset({
    path: join(folder, 'all.jsonl'),
    preprocessing: ['lowercase', { stopWords: 'en' }],
  });
  const stages = [{ train: 'head', steps: 2, learningRate: 1e-3 }];
  const trained = await finetune(tinyBert, { stages }, stepContext({ data, folder: join(folder, 'finetune') }));
  const again = await loadDataset({ path: join(folder, 'all.jsonl') });
  const more = await finetune(
    trained.checkpoint,
    { stages },
    stepContext({ data: again, folder: join(folder, 'more') }),
  );
  const { checkpoint } = await quantize(more.checkpoint, {}, stepContext({ folder: join(folder, 'int8') }));
  const kept = await readPreprocessing(checkpoint);
  assert.equal(kept!.steps, data.preprocessing!.steps);
  assert.equal(JSON.parse(readFileSync(join(checkpoint, 'preprocessing.json'), 'utf8')).version, 1);
  await using predictor = await Predictor.load(checkpoint);
  assert.equal(await predictor.predict('LOST THE CARD'), await predictor.predict('lost card'));
  const none = await loadDataset({ path: join(folder, 'all.jsonl'), preprocessing: [] });
  const without = await finetune(
    trained.checkpoint,
    { stages },
    stepContext({ data: none, folder: join(folder, 'none') }),
  );
  assert.equal((await readPreprocessing(without.checkpoint))!.steps, []);
});

test('bad: steps that are none, that entities cannot have, and a damaged file', async () => {
  const create = (steps: unknown) => () => Preprocessing.create(steps as PreprocessingOptions);
  await expectError(
    create(['lowercas']),
    'BAD_OPTION',
    /preprocessing: .*expected lowercase, whitespace, htmlEntities, or/,
  );
  await expectError(create([{ unicode: 'NFX' }]), 'BAD_OPTION', /preprocessing: .*unicode/);
  await expectError(create([{ stopwords: 'en' }]), 'BAD_OPTION', /unknown key "stopwords".*did you mean "stopWords"/);
  await expectError(create([{ sentences: { language: 'en' } }]), 'BAD_OPTION', /expected "first" or "last"/);
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'all.conll'), Array.from({ length: 30 }, (_, i) => `a${i} B-X\nb O\n\n`).join(''));
  await expectError(
    () => loadDataset({ path: join(folder, 'all.conll'), preprocessing: [{ stopWords: 'en' }] }),
    'BAD_OPTION',
    /preprocessing: expected steps that leave every word in its place, .* but found "stopWords"/,
  );
  writeFileSync(join(folder, 'preprocessing.json'), '{"version":2,"steps":[]}');
  await expectError(() => readPreprocessing(folder), 'BAD_CHECKPOINT', /preprocessing\.json: version/);
  writeFileSync(join(folder, 'preprocessing.json'), '{');
  await expectError(() => readPreprocessing(folder), 'BAD_CHECKPOINT', /preprocessing\.json: expected JSON/);
});

test.run();
