/**
 * How often whittle.node allocates in a run once it is warm: `steady-state.ts CHECKPOINT WORK.json COUNT_FILE`, with
 * native/test/preload_allocations.cc preloaded. Prints allocations and bytes a run.
 */
import { readFileSync } from 'node:fs';
import { onceOf } from '../peers/whittle-work.js';

const [checkpoint, file, countFile] = process.argv.slice(2) as [string, string, string];
const runs = 10;
const once = await onceOf(checkpoint, file);
const counts = () => {
  const values = new BigUint64Array(new Uint8Array(readFileSync(countFile)).buffer);
  return { allocations: Number(values[0]), bytes: Number(values[1]) };
};
for (let run = 0; run < runs; run++) await once();
const before = counts();
if (before.allocations === 0) throw new Error('Expected allocations while loading but counted none');
for (let run = 0; run < runs; run++) await once();
const after = counts();
console.log(
  JSON.stringify({
    allocations: (after.allocations - before.allocations) / runs,
    bytes: (after.bytes - before.bytes) / runs,
  }),
);
