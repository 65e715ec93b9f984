/** Opening and writing checkpoints: what comes back, and the one sentence for each way a folder can be wrong. */
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../bindings/load.js';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import type { Parameter, QuantizedParameter } from '../../lib/models/parameters.js';
import { makeHeader, readHeader } from '../../lib/models/safetensors.js';
import { writeCheckpoint } from '../../lib/models/write-checkpoint.js';
import { expectError, root, sharedFolder, skip, temporaryFolder } from '../harness.js';

const tiny = join(root, 'test', 'fixtures', 'tiny-bert');

function tinyCopy(): string {
  const folder = join(temporaryFolder(), 'model');
  cpSync(tiny, folder, { recursive: true });
  return folder;
}

function editConfig(folder: string, edit: (config: Record<string, unknown>) => void): void {
  const file = join(folder, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  edit(config);
  writeFileSync(file, JSON.stringify(config));
}

/** Writes model.safetensors (or a shard) of named float tensors. */
async function writeTensors(file: string, tensors: Map<string, Parameter>): Promise<void> {
  const list = [...tensors].map(([name, { shape, data }]) => ({ name, shape, data, dtype: 'F32' as const }));
  await native.writeTensors(file, makeHeader(list), list);
}

/** The tensors of tiny-bert by their Hugging Face names. */
async function tinyTensors(): Promise<Map<string, Parameter>> {
  const stored = [...(await readHeader(join(tiny, 'model.safetensors'))).values()];
  const arrays = await native.readParameters(stored.map((tensor) => ({ tensor })));
  return new Map(stored.map(({ name, shape }, i) => [name, { shape, data: arrays[i]! }]));
}

async function withTensors(edit: (tensors: Map<string, Parameter>) => void): Promise<string> {
  const folder = join(temporaryFolder(), 'model');
  mkdirSync(folder);
  cpSync(join(tiny, 'config.json'), join(folder, 'config.json'));
  const tensors = await tinyTensors();
  edit(tensors);
  await writeTensors(join(folder, 'model.safetensors'), tensors);
  return folder;
}

test('opens a classifier with its labels', async () => {
  const checkpoint = await openCheckpoint(tiny);
  assert.equal(checkpoint.head, { task: 'text-classification', labels: ['activate card', 'lost card', 'top up'] });
  assert.is(checkpoint.description.layers, 2);
  assert.is(checkpoint.description.headSize, 8);
  assert.is(checkpoint.dtypes.get('embeddings.word'), 'F32');
  const parameters = await checkpoint.readParameters(['classifier.weight', 'layers.1.attention.query.bias']);
  assert.equal(parameters.get('classifier.weight')!.shape, [3, 32]);
  await expectError(
    () => checkpoint.readParameters(['clasifier.weight']),
    'BAD_OPTION',
    /did you mean "classifier\.weight"/,
  );
});

test('opens a bare encoder in half precision', async () => {
  const folder = sharedFolder('models/minilm-l6');
  if (!folder) return skip('../shared/models/minilm-l6 is not there');
  const checkpoint = await openCheckpoint(folder);
  assert.is(checkpoint.head, undefined);
  assert.is(checkpoint.description.hasPooler, true);
  assert.is(checkpoint.tensors.size, 103);
});

for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
  test(`writes ${dtype} and reads it back`, async () => {
    const source = await openCheckpoint(tiny);
    const parameters = await source.readParameters();
    const folder = join(temporaryFolder(), 'written');
    await writeCheckpoint(folder, { ...source, parameters, dtype, tokenizerFrom: tiny });
    const written = await openCheckpoint(folder);
    assert.equal(written.head, source.head);
    assert.equal(written.description, source.description);
    const [bits, back] = [{ float32: 23, float16: 10, bfloat16: 7 }[dtype], await written.readParameters()];
    for (const [name, { data }] of parameters)
      data.forEach((value, i) => {
        const found = back.get(name)!.data[i]!;
        // Half a unit in the last place, or of the smallest subnormal of float16.
        const tolerance = dtype === 'float32' ? 0 : Math.max(Math.abs(value) * 2 ** -(bits + 1), 2 ** -25);
        if (!(Math.abs(found - value) <= tolerance)) assert.unreachable(`${name}[${i}]: ${found} for ${value}`);
      });
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
    assert.equal(config.architectures, ['BertForSequenceClassification']);
    assert.equal(config.label2id, { 'activate card': 0, 'lost card': 1, 'top up': 2 });
    assert.is(config.problem_type, 'single_label_classification');
    assert.is(config.dtype, dtype);
    assert.ok(existsSync(join(folder, 'tokenizer_config.json')));
  });
}

test('vocabularies for readers without tokenizer.json come along', async () => {
  const parent = temporaryFolder();
  const from = join(parent, 'from');
  cpSync(tiny, from, { recursive: true });
  const names = ['vocab.json', 'merges.txt', 'sentencepiece.bpe.model'];
  for (const name of names) writeFileSync(join(from, name), name);
  const source = await openCheckpoint(from);
  const parameters = await source.readParameters();
  await writeCheckpoint(join(parent, 'to'), { ...source, parameters, dtype: 'float32', tokenizerFrom: from });
  for (const name of names) assert.is(readFileSync(join(parent, 'to', name), 'utf8'), name);
});

test('replaces an existing folder and leaves nothing beside it', async () => {
  const parent = temporaryFolder();
  const folder = join(parent, 'model');
  const source = await openCheckpoint(tiny);
  const parameters = await source.readParameters();
  const write = (extra: string) =>
    writeCheckpoint(folder, {
      ...source,
      parameters,
      dtype: 'float32',
      tokenizerFrom: tiny,
      extraFiles: { [extra]: 'x' },
    });
  await write('first.txt');
  await write('second.txt');
  assert.equal(readdirSync(parent), ['model']);
  assert.not(existsSync(join(folder, 'first.txt')));
  assert.ok(existsSync(join(folder, 'second.txt')));
});

for (const quantization of ['int8-dynamic', 'int8-weight-only'] as const) {
  test(`writes and reads ${quantization}`, async () => {
    const source = await openCheckpoint(tiny);
    const parameters = new Map<string, Parameter | QuantizedParameter>(await source.readParameters());
    const q = Int8Array.from({ length: 72 * 32 }, (_, i) => ((i * 37) % 255) - 127);
    const scale = Float32Array.from({ length: 72 }, (_, i) => 2 ** -(i % 9));
    parameters.set('layers.0.intermediate.weight', { shape: [72, 32], data: q, scale });
    const folder = join(temporaryFolder(), 'written');
    await writeCheckpoint(folder, { ...source, parameters, dtype: 'float16', quantization, tokenizerFrom: tiny });
    const written = await openCheckpoint(folder);
    assert.is(written.quantization, quantization);
    assert.is(written.dtypes.get('layers.0.intermediate.weight'), 'I8');
    const { data } = (await written.readParameters()).get('layers.0.intermediate.weight')!;
    assert.equal(
      data,
      Float32Array.from(q, (value, i) => value * scale[Math.floor(i / 32)]!),
    );
    const config = written.config.quantization_config as { ignore: string[]; config_groups: object };
    assert.ok(
      config.ignore.includes('classifier') && !config.ignore.includes('bert.encoder.layer.0.intermediate.dense'),
    );
    await expectError(
      () => writeCheckpoint(folder, { ...source, parameters, dtype: 'float16', tokenizerFrom: tiny }),
      'BAD_OPTION',
      /layers\.0\.intermediate\.weight is int8/,
    );
  });
}

test('refuses values beyond float16, and writes nothing then', async () => {
  const source = await openCheckpoint(tiny);
  const parameters = await source.readParameters();
  parameters.get('pooler.bias')!.data[3] = 70000;
  const parent = temporaryFolder();
  await expectError(
    () => writeCheckpoint(join(parent, 'm'), { ...source, parameters, dtype: 'float16', tokenizerFrom: tiny }),
    'BAD_OPTION',
    /bert\.pooler\.dense\.bias.*65504.*70000/,
  );
  assert.equal(readdirSync(parent), []);
});

test('says what is in the way of writing', async () => {
  const source = await openCheckpoint(tiny);
  const parameters = await source.readParameters();
  const options = { ...source, parameters, dtype: 'float32' as const, tokenizerFrom: tiny };
  const parent = temporaryFolder();
  writeFileSync(join(parent, 'file'), '');
  await expectError(() => writeCheckpoint(join(parent, 'file', 'model'), options), 'IO', /could not be written/);
  if (existsSync('/dev/full'))
    await expectError(() => native.writeTensors('/dev/full', new Uint8Array(8), []), 'IO', /could not be written/);
  await expectError(
    () => writeCheckpoint(join(parent, 'm'), { ...options, tokenizerFrom: parent }),
    'BAD_CHECKPOINT',
    /tokenizer\.json: no such file/,
  );
  parameters.delete('pooler.bias');
  await expectError(
    () => writeCheckpoint(join(parent, 'm'), options),
    'BAD_CHECKPOINT',
    /pooler\.bias \[32\]: missing/,
  );
  assert.equal(readdirSync(parent), ['file']);
});

test('stops writing when the signal aborts', async () => {
  const source = await openCheckpoint(tiny);
  const parameters = await source.readParameters();
  const parent = temporaryFolder();
  const signal = AbortSignal.abort();
  await expectError(
    () => writeCheckpoint(join(parent, 'm'), { ...source, parameters, dtype: 'float32', tokenizerFrom: tiny, signal }),
    'ABORTED',
    /signal/,
  );
  assert.equal(readdirSync(parent), []);
});

test('reads shards by their index', async () => {
  const folder = join(temporaryFolder(), 'model');
  mkdirSync(folder);
  cpSync(join(tiny, 'config.json'), join(folder, 'config.json'));
  const all = [...(await tinyTensors())];
  const shards = { 'a.safetensors': new Map(all.slice(0, 9)), 'b.safetensors': new Map(all.slice(9)) };
  const map: Record<string, string> = {};
  for (const [file, tensors] of Object.entries(shards)) {
    await writeTensors(join(folder, file), tensors);
    for (const name of tensors.keys()) map[name] = file;
  }
  const index = join(folder, 'model.safetensors.index.json');
  writeFileSync(index, JSON.stringify({ metadata: {}, weight_map: map }));
  const [sharded, single] = await Promise.all(
    [folder, tiny].map(async (f) => (await openCheckpoint(f)).readParameters()),
  );
  for (const [name, { data }] of single!) assert.equal(sharded!.get(name)!.data, data);
  writeFileSync(index, JSON.stringify({ weight_map: { ...map, 'bert.pooler.dense.bias': 'a.safetensors' } }));
  await expectError(() => openCheckpoint(folder), 'BAD_CHECKPOINT', /bert\.pooler\.dense\.bias/);
  writeFileSync(index, JSON.stringify({ weight_map: { x: '../outside' } }));
  await expectError(() => openCheckpoint(folder), 'BAD_CHECKPOINT', /weight_map/);
});

test('names the file and the tensor that is missing, unknown or mis-shaped', async () => {
  const name = 'bert.encoder.layer.1.output.dense.weight';
  const missing = await withTensors((tensors) => tensors.delete(name));
  await expectError(
    () => openCheckpoint(missing),
    'BAD_CHECKPOINT',
    /layer\.1\.output\.dense\.weight: expected \[32, 72\] but it is missing/,
  );
  const shaped = await withTensors((tensors) => (tensors.get(name)!.shape = [72, 32]));
  await expectError(() => openCheckpoint(shaped), 'BAD_CHECKPOINT', /expected shape \[32, 72\] but found \[72, 32\]/);
  const unknown = await withTensors((tensors) => tensors.set('bert.extra', { shape: [1], data: new Float32Array(1) }));
  await expectError(
    () => openCheckpoint(unknown),
    'BAD_CHECKPOINT',
    /model\.safetensors: tensor bert\.extra \[1\] belongs to no part/,
  );
});

test('names what config.json has wrong', async () => {
  const cases: [(config: Record<string, unknown>) => void, 'BAD_CHECKPOINT' | 'UNSUPPORTED', RegExp][] = [
    [
      (c) => (c.model_type = 'brt'),
      'UNSUPPORTED',
      /config\.json: model_type: expected .* but found "brt"; did you mean "bert"\?$/,
    ],
    [(c) => (c.architectures = ['BertForQuestionAnswering']), 'UNSUPPORTED', /BertForQuestionAnswering/],
    [(c) => (c.hidden_act = 'gelu_new'), 'UNSUPPORTED', /hidden_act: expected "gelu"/],
    [
      (c) => (c.hidden_size = '32'),
      'BAD_CHECKPOINT',
      /config\.json: hidden_size: expected a whole number above 0 but found "32"/,
    ],
    [(c) => (c.vocab_size = 0), 'BAD_CHECKPOINT', /vocab_size: expected a whole number above 0 but found 0/],
    [(c) => (c.layer_norm_eps = -1), 'BAD_CHECKPOINT', /layer_norm_eps: expected a number above 0 but found -1/],
    [(c) => (c.hidden_dropout_prob = 1), 'BAD_CHECKPOINT', /hidden_dropout_prob: expected a dropout rate .* found 1/],
    [(c) => (c.is_decoder = 'no'), 'BAD_CHECKPOINT', /is_decoder: expected true or false but found "no"/],
    [(c) => (c.num_attention_heads = 5), 'BAD_CHECKPOINT', /multiple of num_attention_heads/],
    [(c) => delete c.num_hidden_layers, 'BAD_CHECKPOINT', /num_hidden_layers/],
    [(c) => (c.id2label = { 0: 'a', 2: 'b' }), 'BAD_CHECKPOINT', /id2label.*"1"/],
    [(c) => (c.problem_type = 'ordinal'), 'UNSUPPORTED', /problem_type .*multi_label_classification/],
    [(c) => (c.problem_type = 'regression'), 'UNSUPPORTED', /one label for regression but found \d/],
    [(c) => (c.quantization_config = { quant_method: 'gptq', bits: 4 }), 'UNSUPPORTED', /quant_method/],
  ];
  for (const [edit, code, message] of cases) {
    const folder = tinyCopy();
    editConfig(folder, edit);
    await expectError(() => openCheckpoint(folder), code, message);
  }
});

test('names what the config of another architecture has that whittle does not compute', async () => {
  const cases: [string, (config: Record<string, unknown>) => void, 'BAD_CHECKPOINT' | 'UNSUPPORTED', RegExp][] = [
    ['distilbert', (c) => (c.activation = 'relu'), 'UNSUPPORTED', /activation: expected "gelu", .* but found "relu"/],
    ['distilbert', (c) => (c.n_heads = 3), 'BAD_CHECKPOINT', /dim: expected a multiple of n_heads \(3\) but found 16/],
    ['electra', (c) => (c.embedding_size = 8), 'UNSUPPORTED', /embedding_size: expected 16, .* but found 8/],
    ['mpnet', (c) => (c.relative_attention_num_buckets = 16), 'UNSUPPORTED', /num_buckets: expected 32, .* found 16/],
    ['roberta', (c) => (c.hidden_act = 'gelu_new'), 'UNSUPPORTED', /hidden_act: expected "gelu", .* found "gelu_new"/],
    ['roberta', (c) => (c.max_position_embeddings = 2), 'BAD_CHECKPOINT', /max_position_embeddings: .* more than 2/],
    [
      'xlm-roberta',
      (c) => (c.position_embedding_type = 'relative_key'),
      'UNSUPPORTED',
      /"absolute", .* "relative_key"/,
    ],
  ];
  for (const [name, edit, code, message] of cases) {
    const folder = join(temporaryFolder(), 'model');
    cpSync(join(root, 'test/fixtures/architectures', name, 'sequence'), folder, { recursive: true });
    editConfig(folder, edit);
    await expectError(() => openCheckpoint(folder), code, message);
  }
});

test('names files that are missing, truncated or no JSON', async () => {
  await expectError(
    () => openCheckpoint(join(temporaryFolder(), 'nowhere')),
    'BAD_CHECKPOINT',
    /config\.json: no such file/,
  );
  const folder = tinyCopy();
  truncateSync(join(folder, 'model.safetensors'), 50_000);
  await expectError(() => openCheckpoint(folder), 'BAD_CHECKPOINT', /model\.safetensors: tensor .* truncated/);
  truncateSync(join(folder, 'model.safetensors'), 5);
  await expectError(() => openCheckpoint(folder), 'BAD_CHECKPOINT', /it has 5 bytes/);
  writeFileSync(join(folder, 'config.json'), '{"a": ');
  await expectError(() => openCheckpoint(folder), 'BAD_CHECKPOINT', /config\.json: expected JSON/);
});

test.run();
