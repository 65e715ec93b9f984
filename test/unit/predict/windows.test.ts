/** Streams: order, overlap, bounded memory, pauses, failures. */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { runInWindows, type Inputs } from '../../../lib/predict/windows.js';
import { expectError } from '../../harness.js';

interface Trace {
  windows: number[][];
  prepared: number;
}

function stream(
  inputs: Inputs<number>,
  changes: { run?: (window: number[], signal: AbortSignal) => Promise<number[]>; signal?: AbortSignal } = {},
) {
  const trace: Trace = { windows: [], prepared: 0 };
  const { signal } = changes;
  const traced = async (window: number[]) => {
    trace.windows.push(window);
    return window.map((value) => value * 2);
  };
  const { run = traced } = changes;
  const windows = runInWindows<number, number, string, number>(inputs, {
    accept: (input) => {
      if (input < 0) throw new RangeError(`bad input ${input}`);
      trace.prepared++;
      return input;
    },
    size: () => 1,
    prepare: async (accepted) => {
      const bad = accepted.indexOf(unpreparable);
      const failure = { error: new RangeError('cannot be prepared') };
      return { items: accepted.slice(0, bad < 0 ? undefined : bad).map(String), ...(bad >= 0 && { failure }) };
    },
    windowTokens: 10,
    run: async (items, stop) => {
      const results = await run(items.map(Number), stop);
      return () => results;
    },
    signal,
  });
  async function* flat() {
    for await (const window of windows) yield* window;
  }
  return { results: flat(), trace };
}

/** An input that is accepted, but of which nothing that runs can be made. */
const unpreparable = 0.5;

function* count(to: number) {
  for (let value = 0; value < to; value++) yield value;
}

async function* countAsync(to: number, pause?: (value: number) => Promise<unknown> | undefined) {
  for (let value = 0; value < to; value++) {
    await pause?.(value);
    yield value;
  }
}

async function collect(results: AsyncIterable<number>): Promise<number[]> {
  const all: number[] = [];
  for await (const one of results) all.push(one);
  return all;
}

const doubled = (to: number) => [...count(to)].map((value) => value * 2);

for (const length of [0, 1, 9, 10, 11, 20, 95]) {
  test(`${length} inputs, sync and async, in full windows`, async () => {
    for (const inputs of [count(length), countAsync(length), [...count(length)]]) {
      const { results, trace } = stream(inputs);
      assert.equal(await collect(results), doubled(length));
      assert.is(trace.windows.length, Math.ceil(length / 10));
    }
  });
}

test('a consumer that is slow holds the source back: three windows at most', async () => {
  let [given, taken, most] = [0, 0, 0];
  async function* source() {
    for (; given < 500; given++) yield given;
  }
  for await (const result of stream(source()).results) {
    assert.is(result, 2 * taken);
    taken++;
    await turn();
    most = Math.max(most, given - taken);
  }
  assert.is(taken, 500);
  assert.ok(most <= 30, `${most} inputs were read ahead`);
});

test('the next window is collected while one runs', async () => {
  const { results, trace } = stream(countAsync(40), {
    run: async (window) => {
      const before = trace.prepared;
      await sleep(20);
      if (window[0]! < 30) assert.ok(trace.prepared > before, 'nothing was prepared meanwhile');
      return window;
    },
  });
  assert.equal(await collect(results), [...count(40)]);
});

test('what came before a pause is not kept waiting', async () => {
  let release = () => {};
  const gate = new Promise<void>((open) => (release = open));
  const { results } = stream(countAsync(6, (value) => (value === 3 ? gate : undefined)));
  const first = [await results.next(), await results.next(), await results.next()];
  assert.equal(
    first.map(({ value }) => value as number),
    [0, 2, 4],
  );
  release();
  assert.equal(await collect(results), [6, 8, 10]);
});

test('what comes after a pause, while nobody asks for results, is not lost', async () => {
  let release = () => {};
  const gate = new Promise<void>((open) => (release = open));
  const { results } = stream(countAsync(6, (value) => (value === 3 ? gate : undefined)));
  for (let taken = 0; taken < 3; taken++) await results.next();
  release();
  for (let turns = 0; turns < 5; turns++) await turn();
  assert.equal(await collect(results), [6, 8, 10]);
});

test('inputs before a bad one are delivered, then the error', async () => {
  for (const [make, message] of [
    [() => [...count(15), -1, 3], 'bad input -1'],
    [() => slowBad(), 'bad input -1'],
    [() => [...count(15), unpreparable, -1, 3], 'cannot be prepared'],
    [() => [...count(15), unpreparable, ...count(30)], 'cannot be prepared'],
  ] as const) {
    const found: number[] = [];
    try {
      for await (const one of stream(make()).results) found.push(one);
      assert.unreachable();
    } catch (error) {
      assert.match((error as Error).message, message);
    }
    assert.equal(found, doubled(15));
  }
  async function* slowBad() {
    yield* count(15);
    await turn();
    yield -1;
  }
});

test('a source that fails, a run that fails', async () => {
  async function* failing() {
    yield* count(12);
    throw new TypeError('source broke');
  }
  const found: number[] = [];
  try {
    for await (const one of stream(failing()).results) found.push(one);
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'source broke');
  }
  assert.equal(found, doubled(12));
  const { results } = stream(count(50), {
    run: async (window) => {
      if (window.includes(25)) throw new TypeError('run broke');
      return window;
    },
  });
  try {
    await collect(results);
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'run broke');
  }
});

test('a consumer that stops closes the source and stops the run', async () => {
  let closed = 0;
  let stopped = 0;
  async function* source() {
    try {
      yield* count(100);
    } finally {
      closed++;
    }
  }
  const { results } = stream(source(), {
    run: async (window, signal) => {
      signal.addEventListener('abort', () => stopped++);
      if (window[0]! > 0) await sleep(5);
      return window;
    },
  });
  for await (const one of results) if (one === 4) break;
  await turn();
  assert.is(closed, 1);
  assert.ok(stopped > 0);
});

test('an abort does not wait for a source that waits', async () => {
  const controller = new AbortController();
  const never = countAsync(10, (value) => (value === 5 ? new Promise(() => {}) : undefined));
  const { results } = stream(never, { signal: controller.signal });
  setTimeout(() => controller.abort(), 20);
  await expectError(() => collect(results), 'ABORTED', /Stopped/);
});

test('a million inputs leave nothing behind', async () => {
  if (!globalThis.gc) {
    const { setFlagsFromString } = await import('node:v8');
    setFlagsFromString('--expose-gc');
    globalThis.gc = (await import('node:vm')).runInNewContext('gc') as NodeJS.GCFunction;
  }
  const memory: number[] = [];
  const controller = new AbortController();
  let seen = 0;
  for await (const result of stream(countAsync(1_000_000), {
    signal: controller.signal,
    run: async (window) => window,
  }).results) {
    assert.is(result, seen);
    if (++seen % 250_000 === 0) {
      globalThis.gc!();
      memory.push(process.memoryUsage().heapUsed / 2 ** 20);
    }
  }
  assert.ok(memory[3]! - memory[0]! < 4, `heap in MB: ${memory.map((megabytes) => megabytes.toFixed(1)).join(', ')}`);
});

test.run();
