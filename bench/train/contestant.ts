/** whittle's side of bench/train.ts: `contestant.ts WORK.json PRECISION`; a turn is a few training steps. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Example } from '../../lib/data/batch.js';
import { architectureOf } from '../../lib/models/architectures.js';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import type { ModelDescription } from '../../lib/models/description.js';
import { parameterShapes, type Parameters } from '../../lib/models/parameters.js';
import { TrainableModel } from '../../lib/training/model.js';
import { generator, normalValues } from '../../lib/training/random.js';
import { stageSchema } from '../../lib/training/stages.js';
import { trainStages } from '../../lib/training/train.js';
import type { Work } from '../train.js';

const work = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Work;
const precision = process.argv[3] as 'float32' | 'bfloat16';

async function initial(): Promise<{ description: ModelDescription; parameters: Parameters }> {
  if (existsSync(join(work.model, 'model.safetensors'))) {
    const checkpoint = await openCheckpoint(work.model);
    return { description: checkpoint.description, parameters: await checkpoint.readParameters() };
  }
  const file = join(work.model, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const description = { ...architectureOf(config.model_type, file).describe(config, file), hasPooler: true };
  const parameters: Parameters = new Map();
  for (const [index, [name, shape]] of [...parameterShapes(description)].entries()) {
    const count = shape.reduce((product, length) => product * length, 1);
    const data = name.endsWith('norm.weight')
      ? new Float32Array(count).fill(1)
      : normalValues(count, 0.02, generator(1, 7, index));
    parameters.set(name, { shape, data });
  }
  return { description, parameters };
}

const model = new TrainableModel({
  ...(await initial()),
  head: { task: work.task, labels: work.labels },
  seed: 1,
  precision,
});
const trainExamples = work.examples.map(({ inputIds, label, tokenLabels }): Example => ({
  inputIds: Int32Array.from(inputIds),
  tokenTypeIds: new Int32Array(inputIds.length),
  ...(label !== undefined && { label }),
  ...(tokenLabels && { tokenLabels: Int32Array.from(tokenLabels) }),
}));

async function turn(steps: number, seed: number): Promise<{ units: number; seconds: number }> {
  const { batchSize, recompute = false } = work;
  const stages = [stageSchema.parse({ train: 'all', steps, learningRate: 1e-5, recompute })];
  const result = await trainStages(model, { stages, trainExamples, devExamples: [], batchSize, seed });
  const { tokens, trainingSeconds } = result.stages[0]!;
  return { units: tokens, seconds: trainingSeconds };
}

await turn(work.warmupSteps, 0);
console.log('ready');
let seed = 1;
const turns = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
while (!(await turns.next()).done) console.log(JSON.stringify(await turn(work.stepsPerTurn, seed++)));
