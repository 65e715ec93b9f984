/** A real model on the CUDA kernels, compiled as C++, against the CPU's engine: a few sentences. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { packFixture } from '../../scripts/cuda-fixture.js';
import { root, sharedFolder, skip, temporaryFolder } from '../harness.js';

async function compareWithCpu(model: string, inPlace = false): Promise<void> {
  const folder = join(temporaryFolder(), 'fixture');
  await packFixture(model, folder, inPlace);
  const run = spawnSync(join(root, 'build', 'Release', 'whittle_native_tests'), ['cuda_fixture'], {
    env: { ...process.env, WHITTLE_CUDA_FIXTURE: folder },
    encoding: 'utf8',
  });
  for (const line of run.stdout.match(/^NOTE.*$/gm) ?? []) console.log(line);
  assert.is(run.status, 0, run.stdout + run.stderr);
  assert.match(run.stdout, /^1 passed, 0 failed, 0 skipped$/m);
}

test('MiniLM-L6 on the CUDA kernels agrees with the CPU, in int8 bit for bit', async () => {
  const model = sharedFolder('models/minilm-l6');
  if (!model) return skip('../shared/models/minilm-l6 is missing: no real model on the CUDA kernels');
  await compareWithCpu(model);
});

for (const name of ['tiny-bert', 'tiny-bert-tokens'])
  test(`${name}: labels and logits of the CUDA kernels are the CPU's`, () =>
    compareWithCpu(join(root, 'test', 'fixtures', name), name === 'tiny-bert'));

test.run();
