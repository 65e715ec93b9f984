/**
 * Predicting on a file of any size at flat memory: `npm start` first, then `node --import tsx examples/programs/stream.ts`.
 * In a program of your own, import from 'whittle-ml'.
 */
import { Predictor, readRows } from '../../lib/index.js';

async function* texts(file: string): AsyncGenerator<string> {
  for await (const { row } of readRows(file, 'text-classification')) yield row.text;
}

await using predictor = await Predictor.load('runs/quickstart/quantize');
const counts = new Map<string, number>();
for await (const { label } of predictor.predictStream(texts('examples/quickstart/data/test.jsonl'))) {
  if (label !== null) counts.set(label, (counts.get(label) ?? 0) + 1);
}
const common = [...counts].sort(([, a], [, b]) => b - a).slice(0, 5);
for (const [label, count] of common) console.log(String(count).padStart(5), label);
