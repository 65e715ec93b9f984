/** Weights that the optimizer packs for the next step's products: the same training, bit for bit, as packing anew. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../../bindings/load.js';
import { blockWeightNames } from '../../../bindings/native.js';
import type { Parameters } from '../../../lib/models/parameters.js';
import { TrainableModel } from '../../../lib/training/model.js';
import { stageSchema } from '../../../lib/training/stages.js';
import { trainStages } from '../../../lib/training/train.js';
import { skip } from '../../harness.js';
import { textHead, tinyDescription, tinyExamples, tinyParameters } from './tiny-model.js';

const isPacked = native.packedWeightFloats(32, 32, 'bfloat16') > 0;
const names = [0, 1].flatMap((layer) => blockWeightNames.map((name) => `layers.${layer}.${name}`));

/** Trains for a few steps; `packed` of them were multiplied with weights that the optimizer had packed. */
async function train(stages: object[], anew: boolean): Promise<{ parameters: Parameters; packed: number }> {
  const model = new TrainableModel({
    ...{ description: tinyDescription, head: textHead, parameters: tinyParameters(textHead, 1) },
    ...{ seed: 1, precision: 'bfloat16' },
  });
  let packed = 0;
  await trainStages(model, {
    stages: stages.map((stage) => stageSchema.parse({ train: 'all', learningRate: 3e-3, ...stage })),
    trainExamples: tinyExamples(textHead, 40, 5),
    devExamples: tinyExamples(textHead, 16, 6),
    ...{ batchSize: 16, seed: 3 },
    afterStep: () => {
      if (anew) for (const name of names) model.packed?.forget(name);
      const weights = model.packed?.ofLayer(1, (name) => model.parameters.get(name)!) ?? [];
      if (weights.length > 0 && weights.every(Boolean)) packed++;
    },
  });
  const parameters = model.toParameters();
  model.dispose();
  return { parameters, packed };
}

const cases: Record<string, object[]> = {
  'AdamW, with weights that are assigned to in between': [
    { steps: 7, ema: 0.9, evaluateEvery: { steps: 3 } },
    { steps: 3 },
  ],
  'Adam with decay, then SGD, which does not pack, then AdamW': [
    { steps: 3, optimizer: 'adam', weightDecay: 0.1 },
    { steps: 3, optimizer: 'sgd' },
    { steps: 3 },
  ],
  'layers that train one after the other': [{ steps: 3, train: 'layers.1' }, { steps: 3 }],
};

for (const [title, stages] of Object.entries(cases))
  test(title, async () => {
    if (!isPacked) return skip('no bf16 products on this CPU');
    const kept = await train(stages, false);
    const anew = await train(stages, true);
    assert.ok(kept.packed >= 2, `packed weights were used: ${kept.packed}`);
    assert.is(anew.packed, 0);
    for (const [name, { data }] of kept.parameters) assert.equal(data, anew.parameters.get(name)!.data, name);
  });

test('only where products read packed weights, and up to a size', async () => {
  const { PackedWeights } = await import('../../../lib/training/packed-weights.js');
  assert.is(PackedWeights.for(tinyDescription, 'float32'), undefined);
  const huge = { ...tinyDescription, layers: 24, hidden: 1024, intermediate: 4096 };
  assert.is(PackedWeights.for(huge, 'bfloat16'), undefined);
  assert.is(PackedWeights.for(tinyDescription, 'bfloat16') !== undefined, isPacked);
});

test.run();
