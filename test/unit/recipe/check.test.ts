/** What does not go with the models is refused before any step runs. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { run, type RunEvent } from '../../../lib/index.js';
import { expectError, root, temporaryFolder } from '../../harness.js';

const model = join(root, 'test', 'fixtures', 'tiny-bert');
const finetuneStep =
  '  - finetune: { batchSize: 8, stages: [{ train: head, epochs: 1, learningRate: 1e-2 }, { train: all, epochs: 1, learningRate: 1e-3 }] }\n';

/** A recipe file; tiny-bert has two layers and takes 48 tokens. Its steps begin in line 5. */
function recipeWith(steps: string, labels = ['lost', 'top']): string {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'data'));
  const rows = labels.flatMap((label) =>
    Array.from({ length: 8 }, (_, index) => ({ text: `${label} ${index}`, label })),
  );
  for (const name of ['train', 'dev', 'test'])
    writeFileSync(join(folder, 'data', `${name}.jsonl`), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const head = `model: ${model}\ntask: text-classification\ndata: { path: data }\nsteps:\n`;
  writeFileSync(join(folder, 'recipe.yaml'), head + steps);
  return join(folder, 'recipe.yaml');
}

async function refused(steps: string, message: RegExp): Promise<void> {
  const recipe = recipeWith(steps);
  const folder = join(recipe, '..', 'run');
  const events: RunEvent[] = [];
  await expectError(() => run(recipe, { folder, onProgress: (event) => events.push(event) }), 'BAD_RECIPE', message);
  assert.equal(events, []);
  assert.not.ok(existsSync(join(folder, 'recipe.yaml')));
}

test('a stage of layers that the model lacks', () =>
  refused(
    '  - finetune: { stages: [{ train: head, epochs: 1, learningRate: 1e-2 },\n      { train: layers.2, epochs: 1, learningRate: 1e-3 }] }\n',
    /recipe\.yaml:6: train in stage 2: "layers\.2" names a layer that the model lacks; it has 2 layers, layers\.0-1$/,
  ));

test('parameters, losses and scores that the model and its task lack', async () => {
  const stage = (options: string) =>
    `  - finetune: { stages: [{ train: head, epochs: 1, learningRate: 1e-2 },\n      { train: all, epochs: 1, learningRate: 1e-3, ${options} }] }\n`;
  await refused(
    stage('groups: [{ parameters: ["*.bais"], learningRate: 1e-2 }]'),
    /recipe\.yaml:6: groups\[0\]\.parameters\[0\] in stage 2: "\*\.bais" names no parameter of the model; did you mean "\*\.bias"\?$/,
  );
  await refused(
    stage('loss: { classWeights: { lots: 2 } }'),
    /recipe\.yaml:6: loss\.classWeights in stage 2: expected one of the 2 labels but found "lots"; did you mean "lost"\?$/,
  );
  await refused(
    stage('earlyStopping: { metric: acuracy }'),
    /recipe\.yaml:6: earlyStopping in stage 2: no dev metric "acuracy"; did you mean "accuracy"\?$/,
  );
});

test('a longer length than the model takes', () =>
  refused(
    '  - finetune: { maxLength: 100, stages: [{ train: head, epochs: 1, learningRate: 1e-2 }] }\n',
    /recipe\.yaml:5: maxLength in step 1 \(finetune\): expected at most the model's 48 tokens but found 100$/,
  ));

test('a student of layers that its teacher will not have', () =>
  refused(
    `${finetuneStep}  - distill: { teachers: [finetune], student: { layers: [0, 5] }, epochs: 1 }\n`,
    /recipe\.yaml:6: student\.layers in step 2 \(distill\): expected layers below 2, the number that finetune has, but found 5$/,
  ));

test('a stage of layers that the student will not have', () =>
  refused(
    `${finetuneStep}  - distill: { teachers: [finetune], student: { layers: [1] }, train: layers.1, epochs: 1 }\n`,
    /recipe\.yaml:6: train in step 2 \(distill\): "layers\.1" names a layer that the model lacks; it has one layer, layers\.0$/,
  ));

test('a teacher without a head for the data', () =>
  refused(
    `${finetuneStep}  - distill: { teachers: [finetune, ${join(root, 'models', 'minilm-l6')}], epochs: 1 }\n`,
    /recipe\.yaml:6: teachers\[1\] in step 2 \(distill\): teacher .*minilm-l6: expected a head for text-classification but found none$/,
  ));

test('patterns that match no weight', async () => {
  await refused(
    `${finetuneStep}  - prune: { sparsity: 0.5, tensors: [layer.*.weight] }\n`,
    /recipe\.yaml:6: tensors in step 2 \(prune\): expected a pattern that matches a weight of the model, .*"layer\.\*\.weight" matches none/,
  );
  await refused(
    `${finetuneStep}  - prune: { sparsity: 0.5, recover: { epochs: 1, train: layers.7 } }\n`,
    /recipe\.yaml:6: recover\.train in step 2 \(prune\): "layers\.7" names a layer that the model lacks/,
  );
  await refused(
    `${finetuneStep}  - quantize: { keep: [clasifier.weight] }\n`,
    /recipe\.yaml:6: keep in step 2 \(quantize\): .*"clasifier\.weight" matches none; did you mean "classifier\.weight"\?$/,
  );
});

test('steps that go with what earlier ones will make are not refused', async () => {
  const recipe = recipeWith(
    `${finetuneStep}  - distill: { teachers: [finetune], student: { layers: [1] }, train: layers.0, epochs: 1 }
  - prune: { sparsity: 0.5, tensors: [layers.0.output.weight] }
  - quantize: { keep: [classifier.weight] }
`,
  );
  const { metrics } = await run(recipe, { folder: join(recipe, '..', 'run') });
  assert.ok(metrics.distill!.accuracy! >= 0);
});

test.run();
