import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { evenBudget, planBatches } from '../../../lib/predict/batching.js';
import { seededRandom } from '../../../lib/data/random.js';

test('longest first, to the budget', () => {
  assert.equal(planBatches([5, 100, 7], 110), [[1, 2], [0]]);
  assert.equal(planBatches([], 10), []);
  assert.equal(planBatches([50, 60], 10), [[1], [0]], 'a sequence above the budget runs alone');
  assert.equal(planBatches([10, 10, 10], 20), [[0, 1], [2]], 'equal lengths keep their order');
  assert.equal(planBatches([0, 0], 1), [[0, 1]]);
});

test('every sequence once, no batch above the budget, none that could take the next sequence', () => {
  const seed = 7;
  const random = seededRandom(seed);
  for (let round = 0; round < 200; round++) {
    const budget = 1 + Math.floor(random() * 300);
    const lengths = Array.from({ length: Math.floor(random() * 80) }, () => 1 + Math.floor(random() * 128));
    const batches = planBatches(lengths, budget);
    const where = `seed ${seed}, round ${round}`;
    assert.equal(
      batches.flat().sort((a, b) => a - b),
      lengths.map((_, index) => index),
      where,
    );
    batches.forEach((batch, index) => {
      const tokens = batch.reduce((sum, one) => sum + lengths[one]!, 0);
      assert.ok(tokens <= budget || batch.length === 1, where);
      const next = batches[index + 1];
      if (next) assert.ok(tokens + lengths[next[0]!]! > budget, where);
    });
  }
});

test('an even budget gives as few batches, and no small one at the end', () => {
  assert.is(evenBudget([4, 4, 4, 4, 4], 16), 14);
  assert.is(evenBudget([], 16), 16);
  const random = seededRandom(5);
  for (let round = 0; round < 200; round++) {
    const lengths = Array.from({ length: 1 + Math.floor(random() * 300) }, () => 1 + Math.floor(random() * 40));
    const budget = 200 + Math.floor(random() * 800);
    const even = evenBudget(lengths, budget);
    assert.ok(even <= budget);
    const sizes = planBatches(lengths, even).map((batch) => batch.reduce((sum, index) => sum + lengths[index]!, 0));
    assert.ok(sizes.length <= planBatches(lengths, budget).length);
    const total = lengths.reduce((sum, length) => sum + length, 0);
    if (even < budget) assert.ok(Math.max(...sizes) <= total / Math.ceil(total / budget) + 41);
  }
});

test.run();
