import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { argmax, mostProbable, softmax } from '../../../lib/predict/predictions.js';
import { expectError } from '../../harness.js';

test('probabilities of large logits sum to one', () => {
  const probabilities = softmax(Float32Array.of(1000, 1001));
  assert.ok(Math.abs(probabilities[0]! + probabilities[1]! - 1) < 1e-12);
  assert.ok(Math.abs(probabilities[1]! / probabilities[0]! - Math.E) < 1e-12);
});

test('logits that are not finite are refused', async () => {
  for (const bad of [NaN, Infinity])
    for (const logits of [Float32Array.of(0, bad), Float32Array.of(bad, 0)]) {
      await expectError(() => softmax(logits), 'BAD_CHECKPOINT', /expected finite logits/);
      await expectError(() => mostProbable(logits, 0, 2), 'BAD_CHECKPOINT', /expected finite logits/);
    }
});

test('the most probable class of a row is that of its softmax', () => {
  const logits = Float32Array.from({ length: 90 }, (_, index) => Math.fround(Math.sin(index * index) * 20));
  logits[45] = logits[46] = 30;
  for (const count of [1, 2, 9, 90])
    for (let start = 0; start < 90; start += count) {
      const probabilities = softmax(logits.subarray(start, start + count));
      const best = argmax(probabilities);
      assert.equal(mostProbable(logits, start, count), { best, score: probabilities[best] });
    }
});

test.run();
