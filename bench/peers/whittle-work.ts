/** whittle's way to do work (harness/work.ts), with two threads. */
import { readFileSync } from 'node:fs';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { Engine } from '../../lib/models/engine.js';
import { Predictor } from '../../lib/predict/predictor.js';
import { madeUpIds, type TextWork, type Work } from '../harness/work.js';

const threads = 2;

/** Loads the model; the function returned does all of the work in `file` and tells how many sequences or texts that is. */
export async function onceOf(checkpoint: string, file: string): Promise<() => Promise<number>> {
  const work = JSON.parse(readFileSync(file, 'utf8')) as Work;
  return 'texts' in work ? textsWork(checkpoint, work) : idsWork(checkpoint, work.lengths);
}

async function idsWork(checkpoint: string, lengths: readonly number[]): Promise<() => Promise<number>> {
  const engine = await Engine.load(await openCheckpoint(checkpoint));
  const inputIds = Int32Array.from(lengths.flatMap((length, row) => madeUpIds(row, length)));
  const offsets = new Int32Array(lengths.length + 1);
  lengths.forEach((length, row) => (offsets[row + 1] = offsets[row]! + length));
  const batch = { inputIds, offsets, tokenTypeIds: new Int32Array(inputIds.length) };
  return async () => {
    await engine.run(batch, { output: 'logits', threads });
    return lengths.length;
  };
}

async function textsWork(checkpoint: string, { texts, maxLength }: TextWork): Promise<() => Promise<number>> {
  const predictor = await Predictor.load(checkpoint, { task: 'any', threads, maxLength });
  return async () => {
    await predictor.predict(texts);
    return texts.length;
  };
}
