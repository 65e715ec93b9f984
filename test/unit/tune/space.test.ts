import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { seededRandom } from '../../../lib/data/random.js';
import { samplers } from '../../../lib/tune/samplers.js';
import { applyParameters, sample } from '../../../lib/tune/space.js';
import { expectError } from '../../harness.js';

const seed = Number(process.env.SEED ?? 7);
const draws = 4000;

/** Kolmogorov-Smirnov distance of samples to the uniform distribution on [0, 1]. */
function distanceToUniform(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.max(
    ...sorted.map((value, i) => Math.max(Math.abs(value - i / draws), Math.abs(value - (i + 1) / draws))),
  );
}

test(`distributions have their shapes (seed ${seed})`, () => {
  const random = seededRandom(seed);
  const many = (distribution: Parameters<typeof sample>[0]) =>
    Array.from({ length: draws }, () => sample(distribution, random) as number);
  // The 0.1 % point of the statistic is 1.95 / sqrt(n).
  const limit = 1.95 / Math.sqrt(draws);
  assert.ok(distanceToUniform(many({ uniform: [2, 6] }).map((x) => (x - 2) / 4)) < limit);
  const logs = many({ logUniform: [1e-5, 1e-1] }).map((x) => (Math.log10(x) + 5) / 4);
  assert.ok(distanceToUniform(logs) < limit);
  const counts = [0, 0, 0, 0];
  for (const value of many({ int: [3, 6] })) counts[value - 3]!++;
  for (const count of counts) assert.ok(Math.abs(count - draws / 4) < 5 * Math.sqrt((draws * 3) / 16), `${counts}`);
  assert.equal(new Set(many([1, 2, 5])), new Set([1, 2, 5]));
});

test('random trials depend on seed and number alone', () => {
  const space = { a: { uniform: [0, 1] as [number, number] }, b: { choice: ['x', 'y'] } };
  const once = samplers.random!({ space, trial: 3, seed: 1 });
  assert.equal(samplers.random!({ space, trial: 3, seed: 1 }), once);
  assert.not.equal(samplers.random!({ space, trial: 4, seed: 1 }), once);
  assert.not.equal(samplers.random!({ space, trial: 3, seed: 2 }), once);
});

test('a grid goes through every combination once', async () => {
  const space = { a: [1, 2, 3], b: { int: [0, 1] as [number, number] } };
  const all = Array.from({ length: 7 }, (_, trial) => samplers.grid!({ space, trial, seed: 0 }));
  assert.equal(all, [
    { a: 1, b: 0 },
    { a: 1, b: 1 },
    { a: 2, b: 0 },
    { a: 2, b: 1 },
    { a: 3, b: 0 },
    { a: 3, b: 1 },
    undefined,
  ]);
  const continuous = { a: { uniform: [0, 1] as [number, number] } };
  await expectError(
    () => samplers.grid!({ space: continuous, trial: 0, seed: 0 }),
    'BAD_RECIPE',
    /a in a grid but found uniform/,
  );
});

test('parameters go to their places, steps by name or index', async () => {
  const recipe = {
    seed: 1,
    steps: [{ finetune: { stages: [{ learningRate: 1 }, {}] } }, 'evaluate', { name: 'last', evaluate: null }],
  };
  const changed = applyParameters(recipe, {
    seed: 5,
    'steps.finetune.stages.1.learningRate': 2,
    'steps.0.batchSize': 8,
    'steps.last.on': 'dev',
    'steps.evaluate.on': 'test',
  });
  assert.equal(changed, {
    seed: 5,
    steps: [
      { finetune: { stages: [{ learningRate: 1 }, { learningRate: 2 }], batchSize: 8 } },
      { evaluate: { on: 'test' } },
      { name: 'last', evaluate: { on: 'dev' } },
    ],
  });
  assert.is(recipe.seed, 1);
  await expectError(
    () => applyParameters(recipe, { 'steps.finetun.x': 1 }),
    'BAD_RECIPE',
    /no step "finetun"; did you mean "finetune"/,
  );
  await expectError(() => applyParameters(recipe, { 'steps.finetune.stages.7.x': 1 }), 'BAD_RECIPE', /has 2 entries/);
  await expectError(() => applyParameters(recipe, { 'seed.x': 1 }), 'BAD_RECIPE', /seed holds no fields/);
});

test.run();
