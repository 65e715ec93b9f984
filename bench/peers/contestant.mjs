/** What the Node peers share: the choice of a batch size and turns (harness/contest.ts). Plain JavaScript, since peers run without tsx. */
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';

const leastMilliseconds = 300;

/** `once(batchSize)` does all of the work, `count` units. The fastest batch size is taken, unless the third argument tells it. */
export async function competeInBatches(version, count, once) {
  const chosen = process.argv[4] ? JSON.parse(process.argv[4]) : { batch_size: await fastestBatchSize(count, once) };
  for (let warmUp = 0; warmUp < 2; warmUp++) await once(chosen.batch_size);
  console.log(`ready ${JSON.stringify({ version, chosen })}`);
  const turns = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  while (!(await turns.next()).done) {
    let [units, milliseconds] = [0, 0];
    while (milliseconds < leastMilliseconds) {
      milliseconds += await timed(() => once(chosen.batch_size));
      units += count;
    }
    console.log(JSON.stringify({ units, seconds: milliseconds / 1000 }));
  }
}

async function fastestBatchSize(count, once) {
  const sizes = [...new Set([32, 16, 8].map((size) => Math.min(size, count)))];
  let [fastest, least] = [sizes[0], Infinity];
  for (const size of sizes) {
    await once(size);
    const milliseconds = Math.min(await timed(() => once(size)), await timed(() => once(size)));
    if (milliseconds < least) [fastest, least] = [size, milliseconds];
  }
  return fastest;
}

async function timed(work) {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
