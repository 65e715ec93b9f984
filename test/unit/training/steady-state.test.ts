/** A training step in its steady state allocates nothing: neither native scratch memory nor arrays of tensors. */
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../../bindings/load.js';
import type { WhittleBackend } from '../../../lib/backend/whittle-backend.js';
import { TrainableModel } from '../../../lib/training/model.js';
import { stageSchema } from '../../../lib/training/stages.js';
import { trainStages } from '../../../lib/training/train.js';
import { textHead, tinyDescription, tinyExamples, tinyParameters, tokenHead } from './tiny-model.js';

// With several threads it is left to the moment when each of them makes its first scratch memory.
native.setThreads(1);

for (const head of [textHead, tokenHead])
  for (const precision of ['float32', 'bfloat16'] as const)
    for (const recompute of [false, true])
      test(`${head.task} in ${precision}${recompute ? ', recompute' : ''}`, async () => {
        const parameters = tinyParameters(head, 1);
        const model = new TrainableModel({ description: tinyDescription, head, parameters, seed: 1, precision });
        // Every batch is the whole set, so that each step has the same sizes.
        const trainExamples = tinyExamples(head, 64, 5);
        const stages = [stageSchema.parse({ train: 'all', steps: 8, learningRate: 1e-3, dropout: 0.1, recompute })];
        const grown: { floats: number; scratch: number; tensors: number }[] = [];
        await trainStages(model, {
          ...{ stages, trainExamples, devExamples: [], batchSize: trainExamples.length, seed: 3 },
          afterStep: () => {
            const { pool } = tf.backend() as unknown as WhittleBackend;
            grown.push({ floats: pool.allocated, scratch: native.scratchBytes(), tensors: tf.memory().numTensors });
          },
        });
        model.dispose();
        assert.is(grown.length, 8);
        assert.ok(grown[1]!.floats > 0 && grown[1]!.scratch > 0, 'the counters count');
        for (const after of grown.slice(2)) assert.equal(after, grown[1]);
      });

test.run();
