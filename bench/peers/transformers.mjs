/**
 * transformers.js as a contestant: `node transformers.mjs FOLDER WORK.json`, texts to entities with offsets' words and
 * scores, by its own pipeline. Texts are sorted by length, so that a batch has little padding.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, basename, resolve } from 'node:path';
import { env, pipeline } from '@huggingface/transformers';
import { competeInBatches } from './contestant.mjs';

const [folder, file] = process.argv.slice(2);
const { texts } = JSON.parse(readFileSync(file, 'utf8'));
env.allowRemoteModels = false;
env.localModelPath = dirname(resolve(folder));
const recognize = await pipeline('token-classification', basename(folder), {
  dtype: 'q8',
  device: 'cpu',
  session_options: { intraOpNumThreads: 2, interOpNumThreads: 1 },
});
const order = texts.map((_, index) => index).sort((a, b) => texts[a].length - texts[b].length);
const versionOf = (name) =>
  JSON.parse(readFileSync(join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'package.json'), 'utf8'))
    .version;

await competeInBatches(`transformers.js ${versionOf('@huggingface/transformers')}`, texts.length, async (batchSize) => {
  const entities = new Array(texts.length);
  for (let start = 0; start < order.length; start += batchSize) {
    const batch = order.slice(start, start + batchSize);
    const found = await recognize(
      batch.map((index) => texts[index]),
      { aggregation_strategy: 'simple' },
    );
    batch.forEach((index, row) => (entities[index] = found[row]));
  }
});
