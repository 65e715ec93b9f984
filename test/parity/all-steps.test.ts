/** examples/all-steps/recipe.yaml: every kind of step on real data and the real encoder, and what each must keep. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { run } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { root, temporaryFolder } from '../harness.js';

test('a recipe of every kind of step ends in a small model that is nearly as good', async () => {
  const folder = join(temporaryFolder(), 'run');
  const { metrics, checkpoints, report } = await run(join(root, 'examples', 'all-steps', 'recipe.yaml'), { folder });
  const accuracy = (step: string) => metrics[step]!.accuracy!;
  const all = JSON.stringify(Object.fromEntries(Object.entries(metrics).map(([step, one]) => [step, one.accuracy])));

  // Chance is 1.3 % with 77 classes; 2,000 rows are 26 of each.
  assert.ok(accuracy('evaluate') > 0.85, all);
  // 800 test rows: a difference of 3 points is two standard errors of it.
  assert.ok(accuracy('evaluate-2') > accuracy('evaluate') - 0.03, `half of the weights pruned: ${all}`);
  assert.ok(accuracy('evaluate-3') > accuracy('evaluate') - 0.06, `half of the layers distilled: ${all}`);
  assert.ok(Math.abs(accuracy('evaluate-4') - accuracy('evaluate-3')) < 0.02, `int8 beside float32: ${all}`);

  const pruned = await (await openCheckpoint(checkpoints.prune!)).readParameters();
  let [zeros, count] = [0, 0];
  for (const [name, { data }] of pruned) {
    if (!/^layers\..*\.weight$/.test(name) || name.includes('norm')) continue;
    zeros += data.reduce((sum, value) => sum + Number(value === 0), 0);
    count += data.length;
  }
  assert.ok(Math.abs(zeros / count - 0.5) < 1e-3, `${zeros} zeros of ${count}`);
  assert.is((await openCheckpoint(checkpoints.distill!)).description.layers, 3);
  assert.is((await openCheckpoint(checkpoints.quantize!)).quantization, 'int8-dynamic');

  assert.equal(
    report.models.map(({ name, precision }) => [name, precision]),
    [
      ['finetune', 'float32'],
      ['prune', 'float32'],
      ['distill', 'float32'],
      ['quantize', 'int8'],
    ],
  );
  assert.ok(report.models[3]!.bytes * 3.5 < report.models[2]!.bytes);
  const html = readFileSync(join(folder, 'report.html'), 'utf8');
  for (const title of [
    'Learning curves of finetune',
    'Learning curves of distill',
    'Sparsity of prune',
    'hardest of 77',
  ]) {
    assert.ok(html.includes(title), title);
  }
});

test.run();
