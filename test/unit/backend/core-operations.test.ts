/**
 * TensorFlow.js core's own tests on the backend `whittle` have the results that they have on the CPU backend, with
 * core's gradients and with whittle's.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../harness.js';
import type { CoreTestResults } from './core-tests.js';

/** Tests of core 4.22 that pass on the CPU backend: fewer would mean that some were not found. */
const known = 4227;
/** They exist for a backend of this very name only. */
const ofTheCpuAlone = 'Switching cpu backends';

function coreTests(...args: string[]): Promise<CoreTestResults> {
  return new Promise((resolve, reject) => {
    const file = join(root, 'test/unit/backend/core-tests.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', file, ...args], { cwd: root });
    let [output, errors] = ['', ''];
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (errors += chunk));
    child.on('close', (code) => {
      const line = output.trim().split('\n').at(-1) ?? '';
      if (code === 0 && line.startsWith('{')) resolve(JSON.parse(line) as CoreTestResults);
      else reject(new Error(`core's tests ended with code ${code}: ${errors.slice(-2000)}`));
    });
  });
}

const count = ({ statuses }: CoreTestResults, status: string) =>
  Object.values(statuses)
    .flat()
    .filter((one) => one === status).length;

const cpu = await coreTests('cpu');

test(`core's own tests pass on the CPU backend`, () => {
  assert.equal(cpu.failures, {});
  assert.is(count(cpu, 'passed'), known);
});

for (const [name, ...args] of [["core's gradients"], ["whittle's gradients", 'own-gradients']] as const)
  test(`core's own tests on whittle, with ${name}: as on the CPU backend`, async () => {
    const results = await coreTests('whittle', ...args);
    assert.equal(results.failures, {});
    for (const [test, statuses] of Object.entries(cpu.statuses))
      if (!test.startsWith(ofTheCpuAlone)) assert.equal(results.statuses[test], statuses, test);
    for (const [kernel, times] of Object.entries(results.ownKernelCalls))
      assert.ok(times > 0, `${kernel} of the backend whittle ran in no test`);
    const [passed, skipped] = [count(results, 'passed'), count(results, 'pending')];
    console.log(`\nNOTE: TensorFlow.js core's tests on whittle, ${name}: ${passed} passed, ${skipped} pending`);
  });

test.run();
