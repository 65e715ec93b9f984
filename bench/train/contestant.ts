/** whittle's side of bench/train.ts: `contestant.ts WORK.json PRECISION`; a turn is a few training steps. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Example } from '../../lib/data/batch.js';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { TrainableModel } from '../../lib/training/model.js';
import { stageSchema } from '../../lib/training/stages.js';
import { trainStages } from '../../lib/training/train.js';
import type { Work } from '../train.js';

const work = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Work;
const precision = process.argv[3] as 'float32' | 'bfloat16';
const checkpoint = await openCheckpoint(work.model);
const model = new TrainableModel({
  description: checkpoint.description,
  head: { task: work.task, labels: work.labels },
  parameters: await checkpoint.readParameters(),
  seed: 1,
  precision,
});
const trainExamples = work.examples.map(({ inputIds, label, tokenLabels }): Example => ({
  inputIds: Int32Array.from(inputIds),
  tokenTypeIds: new Int32Array(inputIds.length),
  ...(label !== undefined && { label }),
  ...(tokenLabels && { tokenLabels: Int32Array.from(tokenLabels) }),
}));
const tokensPerBatch =
  (32 * trainExamples.reduce((sum, { inputIds }) => sum + inputIds.length, 0)) / trainExamples.length;
const steps = Math.max(3, Math.round(4_000 / tokensPerBatch));

async function turn(seed: number): Promise<{ units: number; seconds: number }> {
  const stages = [stageSchema.parse({ train: 'all', steps, learningRate: 1e-5 })];
  const result = await trainStages(model, { stages, trainExamples, devExamples: [], batchSize: 32, seed });
  const { tokens, trainingSeconds } = result.stages[0]!;
  return { units: tokens, seconds: trainingSeconds };
}

await turn(0);
console.log('ready');
let seed = 1;
const turns = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
while (!(await turns.next()).done) console.log(JSON.stringify(await turn(seed++)));
