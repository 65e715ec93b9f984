/** `event-loop.ts CHECKPOINT TEXTS.json predict|predictStream`: predicts for some seconds and prints the event loop's delays in ms. */
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Predictor } from '../../lib/predict/predictor.js';

const seconds = 8;
const [checkpoint, file, form] = process.argv.slice(2) as [string, string, 'predict' | 'predictStream'];
const texts = JSON.parse(readFileSync(file, 'utf8')) as string[];
const predictor = await Predictor.load(checkpoint, { task: 'any', threads: 2 });
await predictor.predict(texts.slice(0, 500));

/** A timer of 1 ms: what is beyond that is the delay. */
const histogram = monitorEventLoopDelay({ resolution: 1 });
const end = performance.now() + seconds * 1000;
let count = 0;
histogram.enable();
if (form === 'predict') {
  do count += (await predictor.predict(texts)).length;
  while (performance.now() < end);
} else {
  for await (const prediction of predictor.predictStream(endless())) count += prediction ? 1 : 0;
}
histogram.disable();
const milliseconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - 1);
console.log(
  JSON.stringify({
    p50: milliseconds(histogram.percentile(50)),
    p99: milliseconds(histogram.percentile(99)),
    max: milliseconds(histogram.max),
    texts: count,
  }),
);

function* endless(): Generator<string> {
  while (performance.now() < end) yield* texts;
}
