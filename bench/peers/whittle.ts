/**
 * whittle as a contestant, with two threads:
 *
 *     whittle.ts CHECKPOINT ids SEQUENCES LENGTH    one ragged batch of so many sequences of equal length
 *     whittle.ts CHECKPOINT texts FILE.json         texts to labels, tokenization included
 */
import { readFileSync } from 'node:fs';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { Engine } from '../../lib/models/engine.js';
import { Predictor } from '../../lib/predict/predictor.js';
import { answerTurns } from '../harness/contestant.js';

const threads = 2;
const [checkpoint, mode, ...args] = process.argv.slice(2) as [string, string, ...string[]];
const work = mode === 'ids' ? await idsWork(Number(args[0]), Number(args[1])) : await textsWork(args[0]!);
for (let warmUp = 0; warmUp < 2; warmUp++) await work();
await answerTurns(work);

async function idsWork(sequences: number, length: number): Promise<() => Promise<number>> {
  const engine = await Engine.load(await openCheckpoint(checkpoint));
  const place = (index: number) => ({ row: Math.floor(index / length), column: index % length });
  const inputIds = Int32Array.from({ length: sequences * length }, (_, index) => {
    const { row, column } = place(index);
    return 1000 + ((row * 131 + column * 31) % 20000);
  });
  const batch = {
    inputIds,
    tokenTypeIds: new Int32Array(inputIds.length),
    offsets: Int32Array.from({ length: sequences + 1 }, (_, row) => row * length),
  };
  return async () => {
    await engine.run(batch, { output: 'logits', threads });
    return sequences;
  };
}

async function textsWork(file: string): Promise<() => Promise<number>> {
  const texts = JSON.parse(readFileSync(file, 'utf8')) as string[];
  const predictor = await Predictor.load(checkpoint, { threads });
  return async () => {
    await predictor.predict(texts);
    return texts.length;
  };
}
