/** The contestant's side of contest.ts, for whittle's own entries. */
import { createInterface } from 'node:readline';

/** Answers each `go` with what one call of `work` did: units of work and the seconds that it took. */
export async function answerTurns(work: () => Promise<number> | number): Promise<void> {
  console.log('ready');
  const turns = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  while (!(await turns.next()).done) {
    const started = performance.now();
    const units = await work();
    console.log(JSON.stringify({ units, seconds: (performance.now() - started) / 1000 }));
  }
}
