/**
 * A stream of millions of short texts through a predictor: memory at a tenth of the way and at the end, and the delay
 * of the event loop meanwhile. The model is the tiny one of the tests, so that what is measured stands around the engine.
 *
 *     npm run bench -- stream [ROWS]        ten million unless told
 */
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Predictor } from '../lib/predict/predictor.js';
import { round, type Benchmark } from './benchmark.js';

const model = join(fileURLToPath(new URL('.', import.meta.url)), '..', 'test', 'fixtures', 'tiny-bert');
const megabyte = 1e6;

export const benchmark: Benchmark = {
  summary: 'memory and event loop over a stream of millions of rows [ROWS]',
  async run({ args }) {
    const rows = Number(args[0] ?? 10_000_000);
    await using predictor = await Predictor.load(model);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const started = performance.now();
    const memory: number[] = [];
    let done = 0;
    for await (const { score } of predictor.predictStream(texts(rows))) {
      if (!(score > 0)) throw new Error(`row ${done}: expected a score but found ${score}`);
      if (++done % Math.floor(rows / 10) !== 0) continue;
      memory.push(process.memoryUsage().rss / megabyte);
      console.log(`${done} rows: ${memory.at(-1)!.toFixed(0)} MB resident`);
    }
    delay.disable();
    if (done !== rows) throw new Error(`expected ${rows} predictions but found ${done}`);
    const seconds = (performance.now() - started) / 1000;
    const work = `stream of ${rows} short texts, tiny model`;
    return {
      rows: [
        { work, unit: 'texts/s', whittle: round(rows / seconds), peers: {} },
        { work: `${work}: resident memory at a tenth of the way`, unit: 'MB', whittle: round(memory[0]!), peers: {} },
        { work: `${work}: resident memory at the end`, unit: 'MB', whittle: round(memory.at(-1)!), peers: {} },
        { work: `${work}: event loop's delay, p99`, unit: 'ms', whittle: round(delay.percentile(99) / 1e6), peers: {} },
        { work: `${work}: event loop's delay, longest`, unit: 'ms', whittle: round(delay.max / 1e6), peers: {} },
      ],
    };
  },
};

/** As a file would give them: asynchronously, a chunk at a time. */
async function* texts(rows: number): AsyncGenerator<string, void, undefined> {
  const verbs = ['lost', 'found', 'ordered', 'blocked', 'topped up'];
  for (let row = 0; row < rows; row++) {
    if (row % 1000 === 0) await turn();
    yield `I ${verbs[row % verbs.length]} my card number ${row} today`;
  }
}
