/** machineInfo, setThreads, WHITTLE_ISA, and the addon in worker threads that come and go. */
import { spawnSync } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../bindings/load.js';
import { expectError, root } from '../harness.js';

const loader = new URL('../../bindings/load.ts', import.meta.url).href;

function run(script: string, environment: Record<string, string> = {}) {
  return spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  });
}

test('machineInfo is consistent', () => {
  const info = native.machineInfo();
  assert.ok(info.isas.includes(info.isa));
  assert.is(info.isas[0], 'ref');
  assert.ok(info.threads >= 1);
  assert.ok(info.affinityCpus >= 1 && info.affinityCpus <= info.logicalCpus);
  assert.ok(info.defaultThreads <= info.affinityCpus);
  assert.is(info.nativeBf16, info.features.avx512Bf16 && ['vnni', 'amx'].includes(info.isa));
});

test('setThreads sets and resets', async () => {
  const before = native.machineInfo().defaultThreads;
  assert.is(native.setThreads(3), 3);
  assert.is(native.machineInfo().threads, 3);
  assert.is(native.setThreads(0), before);
  await expectError(() => native.setThreads(-1), 'BAD_OPTION', /threads/);
  await expectError(() => native.setThreads(1.5), 'BAD_OPTION', /threads/);
});

test('the affinity of the process bounds its threads', () => {
  const script = `import { native } from ${JSON.stringify(loader)}; console.log(native.machineInfo().defaultThreads);`;
  const result = spawnSync(
    'taskset',
    ['-c', '0', process.execPath, '--import', 'tsx', '--input-type=module', '-e', script],
    { cwd: root, encoding: 'utf8' },
  );
  if (result.error) return console.log('\nSKIPPED: taskset is not installed');
  assert.is(result.stdout.trim(), '1', result.stderr);
});

test('WHITTLE_ISA forces each ISA of the machine', () => {
  for (const isa of native.machineInfo().isas) {
    const result = run(
      `import { native } from ${JSON.stringify(loader)}; const i = native.machineInfo(); console.log(i.isa, i.isaFrom);`,
      { WHITTLE_ISA: isa },
    );
    assert.is(result.stdout.trim(), `${isa} WHITTLE_ISA`, result.stderr);
  }
});

test('WHITTLE_ISA that names nothing, or what the machine lacks, is one clear error', () => {
  const missing = ['amx', 'vnni', 'avx512'].find((isa) => !(native.machineInfo().isas as string[]).includes(isa));
  for (const isa of ['sse9', ...(missing ? [missing] : [])]) {
    const result = run(
      `import { native } from ${JSON.stringify(loader)};
       try { native.machineInfo(); } catch (error) { console.log(error.name, error.code, error.message); }`,
      { WHITTLE_ISA: isa },
    );
    assert.match(
      result.stdout,
      new RegExp(`WhittleError BAD_OPTION Expected WHITTLE_ISA to be one of ref.* but it is "${isa}"`),
      result.stderr,
    );
  }
});

test('worker threads load the addon, and the process lives on after they end', async () => {
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const addon = require(workerData);
    parentPort.postMessage(addon.machineInfo().threads);`;
  const addon = new URL('../../build/Release/whittle.node', import.meta.url).pathname;
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all(
      Array.from(
        { length: 3 },
        () =>
          new Promise<number>((done, fail) => {
            const worker = new Worker(script, { eval: true, workerData: addon });
            worker.once('message', (threads: number) => void worker.terminate().then(() => done(threads)));
            worker.once('error', fail);
          }),
      ),
    );
    assert.equal(answers, Array(3).fill(native.machineInfo().threads));
  }
});

test.run();
