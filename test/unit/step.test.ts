/** What the functions of single steps say to calls that lack something. */
import { join } from 'node:path';
import { test } from 'uvu';
import { distill, finetune, prune, quantize, stepContext, tune } from '../../lib/index.js';
import { expectError, root, temporaryFolder } from '../harness.js';

const model = join(root, 'test', 'fixtures', 'tiny-bert');
const stages = [{ train: 'head', epochs: 1, learningRate: 1e-3 }];
const teaching = { teachers: [model], epochs: 1, learningRate: 1e-3 };
type Call = (checkpoint: never, context: never) => unknown;
const steps: [string, Call][] = [
  ['finetune', (checkpoint, context) => finetune(checkpoint, { stages }, context)],
  ['prune', (checkpoint, context) => prune(checkpoint, { sparsity: 0.5 }, context)],
  ['distill', (checkpoint, context) => distill(checkpoint, teaching, context)],
  ['quantize', (checkpoint, context) => quantize(checkpoint, {}, context)],
];

test('every step names a checkpoint or context that is none', async () => {
  const folder = join(temporaryFolder(), 'out');
  for (const [name, step] of steps) {
    const call = (checkpoint: unknown, context: unknown) => () => step(checkpoint as never, context as never);
    const refuses = (action: () => unknown, message: RegExp) =>
      expectError(action, 'BAD_OPTION', new RegExp(`^${name}${message.source}`));
    await refuses(call(undefined, stepContext({ folder })), /: expected the folder of a checkpoint but found none/);
    await refuses(call(5, stepContext({ folder })), /: expected the folder of a checkpoint but found 5/);
    await refuses(call(model, undefined), / context: expected keys and values but it is missing/);
    await refuses(call(model, {}), / context: folder: expected the folder to write but it is missing/);
    await refuses(call(model, { folder, threads: NaN }), / context: threads: expected a whole number of threads/);
  }
});

test('steps that read data name data that are none', async () => {
  const folder = join(temporaryFolder(), 'out');
  const context = { folder, data: 5 } as never;
  const expected = / context: data: expected a dataset of loadDataset but found 5/;
  await expectError(() => finetune(model, { stages }, context), 'BAD_OPTION', expected);
  await expectError(() => distill(model, teaching, context), 'BAD_OPTION', expected);
  const none = /expected "data", which this step needs, but found none/;
  await expectError(() => finetune(model, { stages }, stepContext({ folder })), 'BAD_OPTION', none);
});

test('a context with a misspelt key or a value of another kind is refused', async () => {
  const context = (given: object) => () => stepContext(given as never);
  await expectError(
    context({ foldr: 'x' }),
    'BAD_OPTION',
    /step context: unknown key "foldr"; did you mean "folder"\?/,
  );
  await expectError(context({ folder: 'x', seed: -1 }), 'BAD_OPTION', /seed: .*at least 0, but found -1/);
  await expectError(context({ folder: 'x', data: [] }), 'BAD_OPTION', /data: expected a dataset/);
});

test('tune refuses options that it does not have', async () => {
  const withOptions = (options: object) => () => tune('recipe.yaml', options as never);
  await expectError(
    withOptions({ foldr: 'x' }),
    'BAD_OPTION',
    /tune options: unknown key "foldr"; did you mean "folder"/,
  );
  await expectError(withOptions({ onProgress: 1 }), 'BAD_OPTION', /onProgress: expected a function but found 1/);
});

test.run();
