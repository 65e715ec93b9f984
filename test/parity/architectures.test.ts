/**
 * Every architecture of the table against Transformers: reading, writing, the engine, both forms of training. The
 * golden files are made by test/fixtures/make_architectures.py.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { crossEntropy } from '../../lib/backend/operations.js';
import { useWhittleBackend } from '../../lib/backend/register.js';
import { architectures } from '../../lib/models/architectures.js';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { Engine, type EngineOptions } from '../../lib/models/engine.js';
import { relativePositionBuckets } from '../../lib/models/relative-positions.js';
import { readHeader } from '../../lib/models/safetensors.js';
import { writeCheckpoint } from '../../lib/models/write-checkpoint.js';
import { evaluation, TrainableModel } from '../../lib/training/model.js';
import { root, skip, temporaryFolder } from '../harness.js';

const fixtures = join(root, 'test/fixtures/architectures');

interface Outputs {
  logits: number[];
  hidden: number[];
}
interface Golden {
  lengths: number[];
  inputIds: number[];
  tokenTypeIds: number[];
  labels: number[];
  loss: number;
  sequence: Outputs;
  token: Outputs;
}

function readGolden(name: string) {
  const golden = JSON.parse(readFileSync(join(fixtures, name, 'golden.json'), 'utf8')) as Golden;
  const offsets = new Int32Array(golden.lengths.length + 1);
  golden.lengths.forEach((length, row) => (offsets[row + 1] = offsets[row]! + length));
  const [inputIds, tokenTypeIds] = [Int32Array.from(golden.inputIds), Int32Array.from(golden.tokenTypeIds)];
  return { golden, batch: { inputIds, tokenTypeIds, offsets, labels: Int32Array.from(golden.labels) } };
}

function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.is(found.length, expected.length, what);
  for (let at = 0; at < found.length; at++)
    assert.ok(Math.abs(found[at]! - expected[at]!) <= tolerance, `${what}[${at}]: ${found[at]} for ${expected[at]}`);
}

const norm = (values: Float32Array) => Math.hypot(...values);

async function trainable(folder: string, form: 'fused' | 'composite', precision?: 'bfloat16') {
  const { description, head, readParameters } = await openCheckpoint(folder);
  const parameters = await readParameters();
  return new TrainableModel({ description, head: head!, parameters, seed: 1, form, ...(precision && { precision }) });
}

test('position buckets are those of Transformers', () => {
  const expected = JSON.parse(readFileSync(join(fixtures, 'position-buckets.json'), 'utf8')) as number[];
  assert.equal([...relativePositionBuckets(600, 32)], expected);
  assert.equal([...relativePositionBuckets(1, 32)], [0]);
});

for (const name of architectures.keys()) {
  const { golden, batch } = readGolden(name);

  for (const part of ['sequence', 'token'] as const) {
    const folder = join(fixtures, name, part);

    test(`${name}, ${part} head: the engine gives Transformers' logits and states`, async () => {
      await using engine = await Engine.load(await openCheckpoint(folder));
      expectClose(await engine.run(batch, { output: 'logits' }), golden[part].logits, 1e-4, 'logits');
      expectClose(await engine.run(batch, { output: 'hidden' }), golden[part].hidden, 1e-4, 'hidden');
    });

    for (const [form, backend] of [
      ['composite', 'cpu'],
      ['fused', 'whittle'],
    ] as const)
      test(`${name}, ${part} head: the ${form} form gives Transformers' logits`, async () => {
        useWhittleBackend();
        tf.setBackend(backend);
        const model = await trainable(folder, form);
        const logits = tf.tidy(() => model.forward(batch, evaluation).dataSync());
        expectClose(logits, golden[part].logits, 1e-4, 'logits');
        model.dispose();
      });

    test(`${name}, ${part} head: written again, the same tensors and config`, async () => {
      const source = await openCheckpoint(folder);
      const parameters = await source.readParameters();
      const written = join(temporaryFolder(), 'written');
      const tokenizerFrom = join(root, 'test/fixtures/tiny-bert');
      await writeCheckpoint(written, { ...source, parameters, dtype: 'float32', tokenizerFrom });
      const names = async (from: string) => [...(await readHeader(join(from, 'model.safetensors'))).keys()].sort();
      assert.equal(await names(written), await names(folder));
      const { config, description, head } = await openCheckpoint(written);
      const rewritten = { ...config };
      for (const key of ['problem_type', 'dtype']) delete rewritten[key];
      assert.equal(rewritten, source.config);
      assert.equal(description, source.description);
      assert.equal(head, source.head);
    });
  }

  for (const [form, backend] of [
    ['composite', 'cpu'],
    ['composite', 'whittle'],
    ['fused', 'whittle'],
  ] as const)
    test(`${name}: gradients of the ${form} form on ${backend}`, async () => {
      useWhittleBackend();
      tf.setBackend(backend);
      const model = await trainable(join(fixtures, name, 'sequence'), form);
      const expected = await (await openCheckpoint(join(fixtures, name, 'gradients'))).readParameters();
      const pass = {
        trained: new Set(model.parameters.keys()),
        hiddenDropout: 0,
        attentionDropout: 0,
        seed: 0,
        step: 0,
      };
      const { value, gradients: grads } = model.gradients(pass, (taking) =>
        crossEntropy(model.forward(batch, taking), batch.labels),
      );
      expectClose(value.dataSync(), [golden.loss], 1e-4 * golden.loss, 'loss');
      assert.equal([...expected.keys()].sort(), [...model.parameters.keys()].sort());
      const total = Math.hypot(...[...expected.values()].map(({ data }) => norm(data)));
      for (const [parameter, { data }] of expected) {
        const gradient = grads[model.parameters.get(parameter)!.name]!.dataSync() as Float32Array;
        const difference = norm(gradient.map((one, at) => one - data[at]!));
        const scale = Math.max(norm(data), 1e-3 * total);
        assert.ok(difference <= 1e-4 * scale, `${parameter}: relative error ${difference / scale}`);
      }
      tf.dispose([value, grads]);
      model.dispose();
    });

  for (const precision of ['bfloat16', 'int8'] as const)
    test(`${name}: the engine at ${precision} stays near float32`, async () => {
      const run = async (options: EngineOptions) => {
        await using engine = await Engine.load(await openCheckpoint(join(fixtures, name, 'sequence')), options);
        return engine.run(batch, { output: 'hidden' });
      };
      try {
        const [found, exact] = [await run({ precision }), await run({ precision: 'float32' })];
        const error = norm(found.map((one, at) => one - exact[at]!)) / norm(exact);
        console.log(`${name} at ${precision}: relative error of the states ${error.toExponential(2)}`);
        assert.ok(error <= 0.03, `relative error ${error}`);
      } catch (error) {
        if ((error as { code?: string }).code !== 'UNSUPPORTED') throw error;
        skip((error as Error).message);
      }
    });
}

test.run();
