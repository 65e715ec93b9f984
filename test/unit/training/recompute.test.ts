/** Activation recomputation: the same weights, bit for bit, from less memory. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TrainableModel } from '../../../lib/training/model.js';
import { stageSchema } from '../../../lib/training/stages.js';
import { trainStages } from '../../../lib/training/train.js';
import { textHead, tinyExamples, tinyParameters, tinyDescription, tokenHead } from './tiny-model.js';

for (const head of [textHead, tokenHead])
  for (const precision of ['float32', 'bfloat16'] as const)
    test(`${head.task} in ${precision}, with dropout: recompute changes no bit`, async () => {
      const [plain, recomputed] = await Promise.all(
        [false, true].map(async (recompute) => {
          const parameters = tinyParameters(head, 1);
          const model = new TrainableModel({ description: tinyDescription, head, parameters, seed: 1, precision });
          const stages = [stageSchema.parse({ train: 'all', steps: 6, learningRate: 3e-3, dropout: 0.2, recompute })];
          const trainExamples = tinyExamples(head, 40, 5);
          await trainStages(model, { stages, trainExamples, devExamples: [], batchSize: 16, seed: 3 });
          const result = model.toParameters();
          model.dispose();
          return result;
        }),
      );
      const start = tinyParameters(head, 1);
      for (const [name, { data }] of plain!) {
        assert.equal(recomputed!.get(name)!.data, data, name);
        if (!/key.bias/.test(name)) assert.not.equal(data, start.get(name)?.data, `${name} was not trained`);
      }
    });

test.run();
