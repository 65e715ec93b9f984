/** The engine's lifetime: sharing between worker threads, abort, dispose in each state, the end of its environment. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../bindings/load.js';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { Engine } from '../../lib/models/engine.js';
import { expectError, root, temporaryFolder } from '../harness.js';

const tiny = join(root, 'test', 'fixtures', 'tiny-bert');
const folder = temporaryFolder();
const checkpoint = await openCheckpoint(tiny);

/** `sequences` of 40 tokens. */
function batch(sequences: number) {
  return {
    inputIds: new Int32Array(sequences * 40).map((_, i) => (i * 31) % 77),
    tokenTypeIds: new Int32Array(sequences * 40),
    offsets: new Int32Array(sequences + 1).map((_, i) => i * 40),
  };
}

/** A program for a worker or child that has tiny-bert loaded as `engine`, and `batch`. Returns its file. */
function program(name: string, body: string): string {
  const module = (path: string) => JSON.stringify(pathToFileURL(join(root, path)).href);
  const file = join(folder, `${name.replaceAll(/\W+/g, '-')}.mjs`);
  writeFileSync(
    file,
    `import { parentPort } from 'node:worker_threads';
    import { tsImport } from ${JSON.stringify(import.meta.resolve('tsx/esm/api'))};
    const { openCheckpoint } = await tsImport(${module('lib/models/checkpoint.ts')}, import.meta.url);
    const { Engine } = await tsImport(${module('lib/models/engine.ts')}, import.meta.url);
    ${batch.toString().replaceAll('__name', '')}
    const engine = await Engine.load(await openCheckpoint(${JSON.stringify(tiny)}), { precision: 'float32' });
    ${body}`,
  );
  return file;
}

function message(worker: Worker): Promise<unknown> {
  return new Promise((done, fail) => worker.once('message', done).once('error', fail));
}

test('eight worker threads share one copy of the weights and give the same results', async () => {
  const engine = await Engine.load(checkpoint, { precision: 'float32' });
  const file = program(
    'share',
    `parentPort.once('message', async () => {
      parentPort.once('message', async () => {
        await engine.dispose();
        parentPort.postMessage('disposed');
      });
      parentPort.postMessage(await engine.run(batch(9), { output: 'logits' }));
    });
    parentPort.postMessage(engine.info.packedBytes);`,
  );
  const workers = Array.from({ length: 8 }, () => new Worker(file));
  const bytes = await Promise.all(workers.map(message));
  assert.equal(bytes, new Array(8).fill(engine.info.packedBytes));
  assert.is(engine.info.sharedBy, 9);
  const results = workers.map(message);
  workers.forEach((worker) => worker.postMessage('run'));
  const expected = await engine.run(batch(9), { output: 'logits' });
  for (const result of await Promise.all(results)) assert.equal(result, expected);
  const disposals = workers.map(message);
  workers.forEach((worker) => worker.postMessage('dispose'));
  await Promise.all(disposals);
  assert.is(engine.info.sharedBy, 1);
  await engine.dispose();
});

test('a signal stops a run; the engine goes on afterwards', async () => {
  const engine = await Engine.load(checkpoint);
  const controller = new AbortController();
  let told = 0;
  const run = engine.run(batch(30_000), {
    output: 'hidden',
    threads: 2,
    signal: controller.signal,
    onProgress: (done, total) => {
      assert.ok(done <= total && total === 30_000);
      if (++told === 3) controller.abort();
    },
  });
  await expectError(() => run, 'ABORTED', /signal/);
  assert.ok(told >= 3);
  assert.is((await engine.run(batch(2), { output: 'logits' })).length, 6);
  const signal = AbortSignal.abort();
  await expectError(() => engine.run(batch(1), { output: 'logits', signal }), 'ABORTED', /signal/);
  await engine.dispose();
});

test('dispose waits for running work, may be called twice, and ends the use', async () => {
  const engine = await Engine.load(checkpoint);
  const order: string[] = [];
  const run = engine.run(batch(3000), { output: 'logits' }).then(() => order.push('run'));
  const disposals = [engine.dispose(), engine.dispose()].map((one) => one.then(() => order.push('disposed')));
  await expectError(() => engine.run(batch(1), { output: 'logits' }), 'DISPOSED', /after dispose/);
  await expectError(() => engine.info, 'DISPOSED', /after dispose/);
  assert.equal(order, []);
  await Promise.all([run, ...disposals]);
  await engine.dispose();
});

test('disposed models leave the registry', async () => {
  for (let i = 0; i < 3; i++) {
    const engine = await Engine.load(checkpoint);
    assert.is(engine.info.sharedBy, 1);
    await engine.dispose();
  }
});

test('batches that break the contract are refused by name', async () => {
  const engine = await Engine.load(checkpoint);
  const cases: [(b: ReturnType<typeof batch>) => void, RegExp][] = [
    [(b) => (b.inputIds[7] = 77), /input ids from 0 to 76 but token 7 has 77/],
    [(b) => (b.inputIds[7] = -1), /token 7 has -1/],
    [(b) => (b.tokenTypeIds[3] = 2), /token type ids from 0 to 1 but token 3 has 2/],
    [(b) => (b.offsets[1] = 0), /sequence 0 goes from 0 to 0/],
    [(b) => (b.offsets[2] = 81), /sequence 1 goes from 40 to 81/],
    [(b) => (b.offsets[0] = 1), /begin with 0/],
    [(b) => (b.offsets[2] = 79), /end with the 80 tokens/],
    [(b) => (b.offsets = Int32Array.of(0, 10, 80)), /at most 48 tokens a sequence but sequence 1 has 70/],
    [(b) => (b.tokenTypeIds = new Int32Array(3)), /80 elements for tokenTypeIds but received 3/],
    [(b) => (b.offsets = new Int32Array(0)), /offsets/],
  ];
  for (const [spoil, expected] of cases) {
    const spoilt = batch(2);
    spoil(spoilt);
    await expectError(() => engine.run(spoilt, { output: 'logits' }), 'BAD_OPTION', expected);
  }
  await expectError(
    () => engine.run(batch(1), { output: 'logit' as 'logits' }),
    'BAD_OPTION',
    /logits, hidden, pooled, mean, first/,
  );
  await expectError(() => engine.run(batch(1), { output: 'logits', threads: -1 }), 'BAD_OPTION', /threads/);
  assert.is((await engine.run(batch(0), { output: 'logits' })).length, 0);
  await engine.dispose();
});

test('sequences of one token and of as many as the model takes, 100,000 in one call', async () => {
  const engine = await Engine.load(checkpoint);
  const lengths = Array.from({ length: 100_000 }, (_, i) => (i % 1000 === 0 ? 48 : 1 + (i % 3)));
  const offsets = new Int32Array(lengths.length + 1);
  lengths.forEach((length, i) => (offsets[i + 1] = offsets[i]! + length));
  const inputIds = new Int32Array(offsets.at(-1)!).map((_, i) => (i * 31) % 77);
  const logits = await engine.run({ inputIds, tokenTypeIds: new Int32Array(inputIds.length), offsets }, { output: 'logits' });
  assert.is(logits.length, 300_000);
  for (const i of [0, 1, 2, 999, 1000, 50_001, 99_999]) {
    const ids = inputIds.slice(offsets[i]!, offsets[i + 1]!);
    const alone = { inputIds: ids, tokenTypeIds: new Int32Array(ids.length), offsets: Int32Array.of(0, ids.length) };
    assert.equal(await engine.run(alone, { output: 'logits', threads: 1 }), logits.slice(3 * i, 3 * i + 3));
  }
  for (const [end, expected] of [
    [48, /sequence 1 goes from 48 to 48/],
    [97, /at most 48 tokens a sequence but sequence 1 has 49/],
  ] as const) {
    const bad = { inputIds: new Int32Array(98), tokenTypeIds: new Int32Array(98), offsets: Int32Array.of(0, 48, end, 98) };
    await expectError(() => engine.run(bad, { output: 'logits' }), 'BAD_OPTION', expected);
  }
  await engine.dispose();
});

test('changing or detaching the input during a run changes nothing', async () => {
  const engine = await Engine.load(checkpoint);
  const expected = await engine.run(batch(500), { output: 'logits' });
  const given = batch(500);
  const run = engine.run(given, { output: 'logits' });
  given.inputIds.fill(1 << 30);
  structuredClone(given.offsets.buffer, { transfer: [given.offsets.buffer as ArrayBuffer] });
  assert.equal(await run, expected);
  await engine.dispose();
});

test('a worker may be terminated during a run', async () => {
  const file = program(
    'terminate',
    `parentPort.postMessage('started');
    await Promise.all([1, 2, 3].map(() => engine.run(batch(2000), { output: 'hidden', onProgress: () => {} })));`,
  );
  for (const milliseconds of [0, 1, 3, 10, 30]) {
    const worker = new Worker(file);
    await message(worker);
    await new Promise((done) => setTimeout(done, milliseconds));
    await worker.terminate();
  }
  const engine = await Engine.load(checkpoint);
  assert.is((await engine.run(batch(2), { output: 'logits' })).length, 6);
  await engine.dispose();
});

for (const [name, end, status] of [
  ['process.exit', 'process.exit(7)', 7],
  ['an uncaught error', "throw new Error('on purpose')", 1],
] as const) {
  test(`${name} during a run ends the process and nothing else`, () => {
    const body = `setTimeout(() => { ${end}; }, 5);
      engine.run(batch(20000), { output: 'hidden' });
      engine.run(batch(20000), { output: 'logits' });`;
    const file = program(name, body);
    const child = spawnSync(process.execPath, [file], { cwd: root, encoding: 'utf8', timeout: 60_000 });
    assert.is(child.signal, null, child.stderr);
    assert.is(child.status, status, child.stderr);
  });
}

test('a handle that is no engine is refused', async () => {
  for (const wrong of [undefined, 3, {}, () => 1])
    await expectError(() => native.engineDispose(wrong as never), 'BAD_OPTION', /Expected an engine/);
});

test.run();
