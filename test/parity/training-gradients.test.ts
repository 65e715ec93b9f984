/**
 * Loss, logits and every gradient of small random BERTs against PyTorch's, for both forms of the model. The golden
 * files are made by test/fixtures/make_training_golden.py.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { useWhittleBackend } from '../../lib/backend/register.js';
import { crossEntropy } from '../../lib/backend/operations.js';
import type { RaggedBatch } from '../../lib/data/batch.js';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { TrainableModel } from '../../lib/training/model.js';
import { root } from '../harness.js';

interface Golden {
  lengths: number[];
  inputIds: number[];
  tokenTypeIds: number[];
  labels: number[];
  loss: number;
  logits: number[][];
}

for (const task of ['text-classification', 'token-classification'])
  for (const [form, backend] of [
    ['composite', 'cpu'],
    ['composite', 'whittle'],
    ['fused', 'whittle'],
  ] as const)
    test(`${task}, ${form} on ${backend}: as PyTorch`, async () => {
      useWhittleBackend();
      tf.setBackend(backend);
      const folder = join(root, 'test/fixtures/training', task);
      const golden = JSON.parse(readFileSync(join(folder, 'batch.json'), 'utf8')) as Golden;
      const checkpoint = await openCheckpoint(join(folder, 'model'));
      const expected = await (await openCheckpoint(join(folder, 'gradients'))).readParameters();
      const model = new TrainableModel({
        description: checkpoint.description,
        head: checkpoint.head!,
        parameters: await checkpoint.readParameters(),
        seed: 1,
        form,
      });
      const batch: RaggedBatch = {
        inputIds: Int32Array.from(golden.inputIds),
        tokenTypeIds: Int32Array.from(golden.tokenTypeIds),
        labels: Int32Array.from(golden.labels),
        offsets: golden.lengths.reduce(
          (offsets, length, row) => (offsets.set([offsets[row]! + length], row + 1), offsets),
          new Int32Array(golden.lengths.length + 1),
        ),
      };
      const trained = new Set(model.parameters.keys());
      const pass = { trained, hiddenDropout: 0, attentionDropout: 0, seed: 0, step: 0 };
      let logits: number[] = [];
      const { value, gradients: grads } = model.gradients(pass, (taking) => {
        const output = model.forward(batch, taking);
        logits = [...output.dataSync()];
        return crossEntropy(output, batch.labels);
      });
      assert.ok(Math.abs(value.dataSync()[0]! - golden.loss) <= 1e-4 * golden.loss, `loss ${value.dataSync()[0]}`);
      const wanted = golden.logits.flat();
      assert.is(logits.length, wanted.length);
      logits.forEach((logit, at) => assert.ok(Math.abs(logit - wanted[at]!) <= 1e-4, `logit ${at}`));

      assert.equal([...expected.keys()].sort(), [...model.parameters.keys()].sort());
      const total = Math.hypot(...[...expected.values()].map(({ data }) => norm(data)));
      for (const [name, { data }] of expected) {
        const gradient = grads[model.parameters.get(name)!.name]!.dataSync() as Float32Array;
        const difference = norm(gradient.map((value, at) => value - data[at]!));
        // The keys' biases have no gradient but rounding errors: softmax does not see them.
        const scale = Math.max(norm(data), 1e-3 * total);
        assert.ok(difference <= 1e-4 * scale, `${name}: relative error ${difference / scale}`);
      }
      tf.dispose([value, grads]);
      model.dispose();
    });

function norm(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

test.run();
