import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { softmax } from '../../../lib/predict/predictions.js';
import { expectError } from '../../harness.js';

test('probabilities of large logits sum to one', () => {
  const probabilities = softmax(Float32Array.of(1000, 1001));
  assert.ok(Math.abs(probabilities[0]! + probabilities[1]! - 1) < 1e-12);
  assert.ok(Math.abs(probabilities[1]! / probabilities[0]! - Math.E) < 1e-12);
});

test('logits that are not finite are refused', async () => {
  for (const bad of [NaN, Infinity]) {
    await expectError(() => softmax(Float32Array.of(0, bad)), 'BAD_CHECKPOINT', /expected finite logits/);
  }
});

test.run();
