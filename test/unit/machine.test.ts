/** machineInfo, setThreads, WHITTLE_ISA, and the addon in worker threads that come and go. */
import { spawnSync } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../bindings/load.js';
import { expectError, root } from '../harness.js';

const addonFile = new URL('../../build/Release/whittle.node', import.meta.url).pathname;
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
  assert.ok(info.affinityCores >= 1 && info.affinityCores <= info.affinityCpus);
  assert.ok(info.defaultThreads <= info.affinityCores);
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
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all(
      Array.from(
        { length: 3 },
        () =>
          new Promise<number>((done, fail) => {
            const worker = new Worker(script, { eval: true, workerData: addonFile });
            worker.once('message', (threads: number) => void worker.terminate().then(() => done(threads)));
            worker.once('error', fail);
          }),
      ),
    );
    assert.equal(answers, Array(3).fill(native.machineInfo().threads));
  }
});

test('worker threads that share the pool get the same bits, and may be terminated in the middle of it', () => {
  // In a process of its own: how it ends is part of the test.
  const script = `
    import { Worker } from 'node:worker_threads';
    import { createRequire } from 'node:module';
    const addon = createRequire(import.meta.url)(${JSON.stringify(addonFile)});
    const source = \`
      const { parentPort, workerData } = require('node:worker_threads');
      const addon = require(workerData);
      const [m, n, k] = [150, 130, 140];
      const a = Float32Array.from({ length: m * k }, (_, i) => Math.sin(i));
      const b = Float32Array.from({ length: k * n }, (_, i) => Math.cos(i));
      const product = () => { const c = new Float32Array(m * n); addon.matmul(a, b, c, { m, n, k }); return c; };
      const first = product();
      for (let round = 0; ; round++) {
        const again = product();
        for (let i = 0; i < first.length; i++) if (again[i] !== first[i]) throw new Error('other bits in round ' + round);
        if (round === 200) parentPort.postMessage(first);
      }\`;
    addon.setThreads(3);
    const workers = Array.from({ length: 4 }, () => new Worker(source, { eval: true, execArgv: [], workerData: ${JSON.stringify(addonFile)} }));
    const results = await Promise.all(workers.map((worker) => new Promise((done, fail) => {
      worker.once('message', done);
      worker.once('error', fail);
    })));
    await Promise.all(workers.map((worker) => worker.terminate()));
    for (const result of results) for (let i = 0; i < result.length; i++) if (result[i] !== results[0][i]) throw new Error('workers differ');
    const c = new Float32Array(1);
    addon.matmul(Float32Array.of(2, 3), Float32Array.of(5, 7), c, { m: 1, n: 1, k: 2 });
    console.log('ends with', c[0]);`;
  const result = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
    timeout: 120_000,
  });
  assert.is(result.stdout.trim(), 'ends with 31', result.stderr);
  assert.is(result.status, 0, result.stderr);
});

test.run();
