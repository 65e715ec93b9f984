/** What the addon allocates: nothing in a warm run, and any of its allocations may fail. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../bindings/load.js';
import { root, skip, temporaryFolder } from '../harness.js';

const folder = temporaryFolder();
const library = join(folder, 'preload_allocations.so');
const counts = join(folder, 'counts');
const source = join(root, 'native', 'test', 'preload_allocations.cc');
const compiled =
  process.platform === 'linux' &&
  spawnSync('c++', ['-std=c++17', '-O2', '-shared', '-fPIC', '-o', library, source]).status === 0;
const precisions = ['float32', 'bfloat16', 'int8'] as const;

/**
 * Runs `body`, a program with tiny-bert as `checkpoint` and `batch(sequences)`, in a child process. Gives what it
 * prints, or its exit status if that is 3.
 */
function runChild(name: string, body: string, env: Record<string, string> = {}): string | number {
  const module = (path: string) => JSON.stringify(pathToFileURL(join(root, path)).href);
  const file = join(folder, `${name}.mjs`);
  writeFileSync(
    file,
    `import { spawnSync } from 'node:child_process';
    import { openSync, readFileSync, readSync, writeSync } from 'node:fs';
    import { tsImport } from ${JSON.stringify(import.meta.resolve('tsx/esm/api'))};
    const { openCheckpoint } = await tsImport(${module('lib/models/checkpoint.ts')}, import.meta.url);
    const { Engine } = await tsImport(${module('lib/models/engine.ts')}, import.meta.url);
    const { Predictor } = await tsImport(${module('lib/predict/predictor.ts')}, import.meta.url);
    const folder = ${JSON.stringify(join(root, 'test', 'fixtures', 'tiny-bert'))};
    const checkpoint = await openCheckpoint(folder);
    const batch = (sequences) => ({
      inputIds: new Int32Array(sequences * 40).map((_, i) => (i * 31) % 77),
      tokenTypeIds: new Int32Array(sequences * 40),
      offsets: new Int32Array(sequences + 1).map((_, i) => i * 40),
    });
    ${body}`,
  );
  const options = { env: { ...process.env, ...env }, encoding: 'utf8', timeout: 60_000 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [file], options);
  if (status === 3) return 3;
  assert.is(status, 0, stderr);
  return stdout;
}

/** The same with what the addon allocates counted: `read()` tells it, `failAfter(n)` lets the n-th allocation fail. */
function runCounted(name: string, body: string): unknown {
  writeFileSync(counts, new Uint8Array(24));
  const counting = `const counts = openSync(${JSON.stringify(counts)}, 'r+');
    const values = new BigUint64Array(3);
    const read = () => (readSync(counts, values, 0, 24, 0), { allocations: Number(values[0]), left: Number(values[2]) });
    const failAfter = (n) => writeSync(counts, BigUint64Array.of(BigInt(n)), 0, 8, 16);
    ${body}`;
  const env = { LD_PRELOAD: library, COUNTED_OBJECT: 'whittle.node', COUNT_FILE: counts };
  return JSON.parse(String(runChild(name, counting, env)));
}

for (const precision of precisions) {
  test(`a warm run in ${precision} allocates nothing`, () => {
    if (!compiled) return skip('no C++ compiler, or no Linux');
    if (precision === 'bfloat16' && !native.machineInfo().nativeBf16)
      return skip('no bfloat16 on this machine');
    const found = runCounted(
      `warm-${precision}`,
      `const engine = await Engine.load(checkpoint, { precision: '${precision}' });
      const loading = read().allocations;
      const found = [];
      for (const output of ['logits', 'hidden', 'pooled', 'mean', 'first'])
        for (const [widest, ...within] of [[300, 300, 17, 1], [1, 1]]) {
          for (let i = 0; i < 3; i++) await engine.run(batch(widest), { output, threads: 2 });
          for (const sequences of within) {
            const given = batch(sequences);
            const before = read().allocations;
            for (let i = 0; i < 20; i++) await engine.run(given, { output, threads: 2 });
            found.push(read().allocations - before);
          }
        }
      console.log(JSON.stringify({ loading, found }));`,
    ) as { loading: number; found: number[] };
    assert.ok(found.loading > 0, 'counts what loading allocates');
    assert.equal(found.found, new Array(20).fill(0));
  });
}

test('any allocation of loading, tokenizing and running may fail: a WhittleError, and the next run is well', () => {
  if (!compiled) return skip('no C++ compiler, or no Linux');
  const found = runCounted(
    'failing',
    `const load = (kind) => kind === 'texts'
      ? Predictor.load(folder, { longTexts: 'windows' })
      : Engine.load(checkpoint, { precision: kind });
    const expected = JSON.stringify(await (await Engine.load(checkpoint)).run(batch(9), { output: 'hidden' }));
    let [nth, failed, strange, whole] = [1, 0, [], new Set()];
    for (let turn = 0; whole.size < 3; nth = Math.ceil(++turn < 90 ? turn / 3 + 0.1 : nth * 1.05)) {
      const kind = ['int8', 'float32', 'texts'][turn % 3];
      let engine;
      failAfter(nth);
      try {
        engine = await load(kind);
        if (kind === 'texts') await engine.predict(['card '.repeat(600), 'lost']);
        else await engine.run(batch(9 + nth), { output: 'hidden', threads: 2, onProgress: () => {} });
        if (read().left > 0) whole.add(kind);
      } catch (error) {
        failed++;
        if (error.name !== 'WhittleError' || error.code !== 'MEMORY' || !/memory/.test(error.message))
          strange.push(nth + ': ' + error.stack);
      }
      failAfter(0);
      await engine?.dispose();
    }
    const engine = await Engine.load(checkpoint);
    const after = JSON.stringify(await engine.run(batch(9), { output: 'hidden' }));
    console.log(JSON.stringify({ failed, strange, same: after === expected }));`,
  ) as { failed: number; strange: string[]; same: boolean };
  assert.equal(found.strange, []);
  assert.ok(found.failed > 50, `${found.failed} allocations failed`);
  assert.ok(found.same);
});

test('a result for which there is no memory is an error', () => {
  if (process.platform !== 'linux' || spawnSync('prlimit', ['--version']).status !== 0) return skip('no prlimit');
  const found = runChild(
    'limited',
    `const engine = await Engine.load(checkpoint);
    await engine.run(batch(3), { output: 'hidden' });
    const large = batch(100_000);
    const size = 1024 * Number(/VmSize:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
    const limit = size + 128 * 2 ** 20;
    if (spawnSync('prlimit', ['--pid', String(process.pid), '--as=' + limit + ':' + limit]).status !== 0) process.exit(3);
    const error = await engine.run(large, { output: 'hidden' }).catch((error) => error);
    console.log(error.name, error.code, error.message, (await engine.run(batch(3), { output: 'logits' })).length);`,
  );
  if (found === 3) return skip('prlimit sets no limits here');
  assert.match(String(found), /^WhittleError MEMORY Expected memory for \d+ bytes of results.* 9$/m);
});

test.run();
