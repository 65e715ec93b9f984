/** The quantize step on the small fixture model, against the definition of symmetric int8. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../../bindings/load.js';
import { quantize, type QuantizedTensorRecord } from '../../../lib/compress/quantize.js';
import { raggedBatch } from '../../../lib/data/batch.js';
import { encodeRows } from '../../../lib/data/encode.js';
import { loadTokenizer } from '../../../lib/data/tokenizer/tokenizer.js';
import { openCheckpoint } from '../../../lib/models/checkpoint.js';
import { Engine } from '../../../lib/models/engine.js';
import { isLinearWeight, type Parameter, type QuantizedParameter } from '../../../lib/models/parameters.js';
import { writeCheckpoint } from '../../../lib/models/write-checkpoint.js';
import { finetune } from '../../../lib/training/finetune.js';
import { expectError, temporaryFolder } from '../../harness.js';
import { testContext, textDataset, textModel } from './tiny-task.js';

const source = textModel;

function norm(values: Iterable<number>): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

for (const method of ['dynamic', 'weight-only'] as const) {
  test(`${method}: linear weights and word embeddings become int8, the rest stays`, async () => {
    const folder = join(temporaryFolder(), 'int8');
    const result = await quantize(source, { method }, { folder, threads: 1 });
    assert.is(result.checkpoint, folder);
    const [before, after] = [await openCheckpoint(source), await openCheckpoint(folder)];
    assert.is(after.quantization, method === 'dynamic' ? 'int8-dynamic' : 'int8-weight-only');
    assert.equal(after.head, before.head);
    const [original, quantized] = [await before.readParameters(), await after.readParameters()];
    for (const [name, { shape, data }] of original) {
      const isInt8 = name === 'embeddings.word' || isLinearWeight(name);
      assert.is(after.dtypes.get(name), isInt8 ? 'I8' : 'F32', name);
      const read = quantized.get(name)!.data;
      if (!isInt8) {
        assert.equal(read, data, name);
        continue;
      }
      const columns = shape[1]!;
      for (let start = 0; start < data.length; start += columns) {
        const largest = data
          .subarray(start, start + columns)
          .reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        for (let i = start; i < start + columns; i++) {
          const step = largest / 127;
          assert.ok(
            Math.abs(read[i]! - data[i]!) <= step * 0.50001,
            `${name}[${i}]: ${read[i]} is no rounding of ${data[i]}`,
          );
          const multiple = step ? read[i]! / step : 0;
          assert.ok(
            Math.abs(multiple - Math.round(multiple)) < 1e-4,
            `${name}[${i}]: ${read[i]} is no multiple of ${step}`,
          );
        }
      }
    }
    const { bytesBefore, bytesAfter, tensors } = result.record as unknown as {
      bytesBefore: number;
      bytesAfter: number;
      tensors: QuantizedTensorRecord[];
    };
    assert.is(bytesBefore, before.bytes);
    assert.is(bytesAfter, after.bytes);
    assert.ok(bytesAfter < 0.5 * bytesBefore);
    assert.is(tensors.length, [...original.keys()].filter((name) => after.dtypes.get(name) === 'I8').length);
    for (const { name, relativeError } of tensors) {
      const [exact, read] = [original.get(name)!.data, quantized.get(name)!.data];
      const expected = norm(exact.map((value, i) => value - read[i]!)) / norm(exact);
      assert.ok(Math.abs(relativeError - expected) < 1e-5, `${name}: ${relativeError} but expected ${expected}`);
      assert.ok(relativeError > 0.001 && relativeError < 0.02, `${name}: ${relativeError}`);
    }
  });
}

test('config.json describes itself after the convention of compressed-tensors', async () => {
  const folder = join(temporaryFolder(), 'int8');
  await quantize(source, { method: 'dynamic', keep: ['classifier.weight'] }, { folder, threads: 1 });
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as {
    quantization_config: {
      quant_method: string;
      ignore: string[];
      config_groups: Record<string, { targets: string[] }>;
    };
  };
  const { quant_method, ignore, config_groups } = config.quantization_config;
  assert.is(quant_method, 'compressed-tensors');
  assert.equal(
    Object.values(config_groups).map(({ targets }) => targets),
    [['Linear'], ['Embedding']],
  );
  assert.ok(ignore.includes('classifier'));
  assert.is((await openCheckpoint(folder)).dtypes.get('classifier.weight'), 'F32');
});

test('quantizing again changes no int8 value', async () => {
  const folder = temporaryFolder();
  const [once, twice] = [join(folder, 'once'), join(folder, 'twice')];
  await quantize(source, { method: 'weight-only' }, { folder: once, threads: 1 });
  await quantize(once, { method: 'weight-only' }, { folder: twice, threads: 1 });
  const [first, second] = await Promise.all(
    [once, twice].map(async (path) => (await openCheckpoint(path)).readParameters()),
  );
  for (const [name, { data }] of first!)
    data.forEach((value, i) => {
      const again = second!.get(name)!.data[i]!;
      assert.ok(Math.abs(value - again) <= 1e-6 * Math.abs(value), `${name}[${i}]: ${value} became ${again}`);
    });
});

test('int8 checkpoints can be fine-tuned: training starts from the dequantized weights', async () => {
  const folder = temporaryFolder();
  const [int8, float32] = [join(folder, 'int8'), join(folder, 'float32')];
  await quantize(source, { method: 'weight-only' }, { folder: int8, threads: 1 });
  const { config, description, head, readParameters } = await openCheckpoint(int8);
  const parameters = await readParameters();
  await writeCheckpoint(float32, { config, description, head, parameters, dtype: 'float32', tokenizerFrom: source });
  const options = { stages: [{ train: 'all', steps: 3, learningRate: 1e-3 }] };
  const [fromInt8, fromFloat32] = await Promise.all(
    [int8, float32].map(async (start) => {
      const { checkpoint } = await finetune(start, options, testContext(textDataset(8)));
      return openCheckpoint(checkpoint);
    }),
  );
  assert.is(fromInt8!.quantization, undefined);
  const [actual, expected] = [await fromInt8!.readParameters(), await fromFloat32!.readParameters()];
  for (const [name, { data }] of expected) assert.equal(actual.get(name)!.data, data, name);
});

test('weight-only checkpoints of other tools load: half precision scales, one group that says its format', async () => {
  const folder = temporaryFolder();
  const [int8, foreign] = [join(folder, 'int8'), join(folder, 'foreign')];
  await quantize(source, { method: 'weight-only', keep: ['embeddings.word'] }, { folder: int8, threads: 1 });
  const { config, description, head, readParameters } = await openCheckpoint(int8);
  const parameters = new Map<string, Parameter | QuantizedParameter>(await readParameters());
  for (const [name, { shape, data }] of await readParameters()) {
    if (!isLinearWeight(name)) continue;
    const { values, scales } = await native.quantizeWeight(name, data, undefined, shape[0]!, shape[1]!, 1);
    parameters.set(name, { shape, data: values, scale: scales });
  }
  await writeCheckpoint(foreign, {
    ...{ config, description, head, parameters, dtype: 'float16', quantization: 'int8-weight-only' },
    tokenizerFrom: source,
  });
  const file = join(foreign, 'config.json');
  const written = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const weights = { dynamic: false, num_bits: 8, strategy: 'channel', symmetric: true, type: 'int' };
  written.quantization_config = {
    config_groups: {
      group_0: {
        ...{ format: 'int-quantized', input_activations: null, output_activations: null },
        ...{ targets: ['Linear'], weights },
      },
    },
    ...{ format: 'int-quantized', global_compression_ratio: null, ignore: [], kv_cache_scheme: null },
    ...{ quant_method: 'compressed-tensors', quantization_status: 'compressed' },
  };
  writeFileSync(file, JSON.stringify(written));
  const checkpoint = await openCheckpoint(foreign);
  assert.is(checkpoint.quantization, 'int8-weight-only');
  assert.is(checkpoint.dtypes.get('layers.0.output.weight'), 'I8');
  const [expected, actual] = [await readParameters(), await checkpoint.readParameters()];
  for (const [name, { data }] of expected)
    data.forEach((value, i) => {
      const read = actual.get(name)!.data[i]!;
      assert.ok(
        Math.abs(value - read) <= 2 ** -11 * Math.abs(value) + 2 ** -24,
        `${name}[${i}]: ${read}, not ${value}`,
      );
    });
});

test('calibration brings the states on the rows nearer to those of the original weights', async () => {
  const data = textDataset(12);
  const tokenizer = await loadTokenizer(source);
  const { examples } = encodeRows(data.train.rows, data.task, { tokenizer, maxLength: 16 });
  const states = async (folder: string) => {
    const engine = await Engine.load(await openCheckpoint(folder), { precision: 'float32' });
    try {
      return await engine.run(raggedBatch(examples), { output: 'hidden' });
    } finally {
      await engine.dispose();
    }
  };
  const folder = temporaryFolder();
  const [nearest, calibrated, again] = ['nearest', 'calibrated', 'again'].map((name) => join(folder, name));
  const keep = ['embeddings.word'];
  await quantize(source, { keep }, { folder: nearest!, threads: 1 });
  const { record } = await quantize(source, { keep, calibration: 30 }, { folder: calibrated!, threads: 1, data });
  await quantize(source, { keep, calibration: 30 }, { folder: again!, threads: 3, data });
  assert.is(record.calibration, 30);
  assert.is((record.tensors as QuantizedTensorRecord[]).length, 6 * 2 + 2);
  const exact = await states(source);
  const distance = async (to: string) => {
    const found = await states(to);
    return norm(found.map((value, i) => value - exact[i]!));
  };
  const [plain, compensated] = [await distance(nearest!), await distance(calibrated!)];
  assert.ok(compensated < 0.8 * plain, `the states are off by ${compensated}, without calibration by ${plain}`);
  const [one, three] = await Promise.all(
    [calibrated!, again!].map(async (to) => (await openCheckpoint(to)).readParameters()),
  );
  for (const [name, { data: values }] of one!) assert.equal(three!.get(name)!.data, values, name);
  const before = await (await openCheckpoint(source)).readParameters();
  for (const [name, { data: values }] of one!) {
    const isCorrected = name.startsWith('layers.') && name.endsWith('.bias') && !name.includes('norm');
    if (name.endsWith('.bias'))
      assert.is(
        values.every((value, i) => value === before.get(name)!.data[i]),
        !isCorrected,
        name,
      );
  }
});

test('calibration without data is refused', async () => {
  await expectError(
    () => quantize(source, { calibration: 8 }, { folder: join(temporaryFolder(), 'int8'), threads: 1 }),
    'BAD_OPTION',
    /calibration: expected data/,
  );
});

test('a checkpoint can be quantized in place', async () => {
  const folder = join(temporaryFolder(), 'int8');
  await quantize(source, { method: 'dynamic' }, { folder, threads: 1 });
  await quantize(folder, { method: 'weight-only' }, { folder, threads: 1 });
  assert.is((await openCheckpoint(folder)).quantization, 'int8-weight-only');
});

test('NaN weights are named', async () => {
  const folder = temporaryFolder();
  const { config, description, head, readParameters } = await openCheckpoint(source);
  const parameters = await readParameters();
  parameters.get('layers.1.output.weight')!.data[7] = NaN;
  const broken = join(folder, 'broken');
  await writeCheckpoint(broken, { config, description, head, parameters, dtype: 'float32', tokenizerFrom: source });
  await expectError(
    () => quantize(broken, { method: 'dynamic' }, { folder: join(folder, 'int8'), threads: 1 }),
    'BAD_CHECKPOINT',
    /"layers\.1\.output\.weight" holds a NaN or infinity in row 0/,
  );
});

test('an engine that rounds as it loads names NaN weights and scales too', async () => {
  const folder = temporaryFolder();
  const { config, description, head, readParameters } = await openCheckpoint(source);
  for (const name of ['layers.1.output.weight', 'embeddings.word', 'embeddings.norm.bias']) {
    const parameters = await readParameters();
    parameters.get(name)!.data[7] = name === 'embeddings.word' ? Infinity : NaN;
    const broken = join(folder, name);
    await writeCheckpoint(broken, { config, description, head, parameters, dtype: 'float32', tokenizerFrom: source });
    const checkpoint = await openCheckpoint(broken);
    await expectError(
      () => Engine.load(checkpoint, { precision: 'int8' }),
      'BAD_CHECKPOINT',
      /model\.safetensors: tensor bert\..*: expected finite numbers but element 7 is NaN or infinite/,
    );
  }
});

test('weights of layers can be kept in weight-only models alone', async () => {
  const keep = ['layers.0.output.weight', 'classifier.weight'];
  const folder = join(temporaryFolder(), 'int8');
  await expectError(
    () => quantize(source, { keep }, { folder }),
    'BAD_OPTION',
    /keep: expected a weight outside the layers \(embeddings\.word, .*classifier\.weight\), .* but found layers\.0\.output/,
  );
  await quantize(source, { method: 'weight-only', keep }, { folder });
  const { dtypes } = await openCheckpoint(folder);
  assert.is(dtypes.get('layers.0.output.weight'), 'F32');
  assert.is(dtypes.get('layers.1.output.weight'), 'I8');
});

test('misspelt options and patterns get the right one told', async () => {
  const context = { folder: join(temporaryFolder(), 'int8'), threads: 1 };
  const run = (options: object) => () => quantize(source, options as never, context);
  await expectError(run({ methd: 'dynamic' }), 'BAD_OPTION', /unknown key "methd"; did you mean "method"/);
  await expectError(
    run({ method: 'static' }),
    'BAD_OPTION',
    /quantize options: method: expected "dynamic" or "weight-only"/,
  );
  await expectError(
    run({ keep: ['clasifier.weight'] }),
    'BAD_OPTION',
    /keep: .*"clasifier\.weight" matches none; did you mean "classifier\.weight"/,
  );
});

test('an abort signal stops it, with nothing written', async () => {
  const folder = join(temporaryFolder(), 'int8');
  const context = { folder, threads: 1, signal: AbortSignal.abort() };
  await expectError(() => quantize(source, {}, context), 'ABORTED', /Stopped/);
  await expectError(() => openCheckpoint(folder), 'BAD_CHECKPOINT', /no such file/);
});

test.run();
