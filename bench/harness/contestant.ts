/** The contestant's side of contest.ts, for entries in Node. */
import { createInterface } from 'node:readline';

/** Short work is repeated within a turn, so that waking up is a small part of it. */
const leastMilliseconds = 300;

/** Answers each `go` with what `work` did: units of work and the seconds that they took. `about` says who and how, for the record. */
export async function answerTurns(
  work: () => Promise<number> | number,
  about: Record<string, unknown> = {},
): Promise<void> {
  console.log(`ready ${JSON.stringify(about)}`);
  const turns = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  while (!(await turns.next()).done) {
    let units = 0;
    const started = performance.now();
    do units += await work();
    while (performance.now() - started < leastMilliseconds);
    console.log(JSON.stringify({ units, seconds: (performance.now() - started) / 1000 }));
  }
}
