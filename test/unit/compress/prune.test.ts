/** The prune step: counts, masks, and what recovery training leaves of them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { magnitudeMasks, type PrunedTensor } from '../../../lib/compress/magnitude.js';
import { matchParameters } from '../../../lib/compress/parameter-patterns.js';
import { prune } from '../../../lib/compress/prune.js';
import { openCheckpoint } from '../../../lib/models/checkpoint.js';
import { isLinearWeight, type Parameters } from '../../../lib/models/parameters.js';
import { expectError } from '../../harness.js';
import { testContext, textDataset, textModel } from './tiny-task.js';

const encoderWeight = (name: string) => name.startsWith('layers.') && isLinearWeight(name);

function zeros(values: Float32Array): number {
  return values.reduce((count, value) => count + (value === 0 ? 1 : 0), 0);
}

test('global: the smallest weights of all layers become zero, exactly as many as asked for', async () => {
  const context = testContext(textDataset(2));
  const result = await prune(textModel, { sparsity: 0.6 }, context);
  const before = await (await openCheckpoint(textModel)).readParameters();
  const after = await (await openCheckpoint(context.folder)).readParameters();
  const names = [...before.keys()].filter(encoderWeight);
  const magnitudes = names.flatMap((name) => [...before.get(name)!.data].map(Math.abs)).sort((a, b) => a - b);
  const cut = Math.round(0.6 * magnitudes.length);
  const threshold = magnitudes[cut - 1]!;
  assert.ok(threshold < magnitudes[cut]!, 'the fixture has no ties at the threshold');
  for (const [name, { data }] of before) {
    const expected = encoderWeight(name) ? data.map((value) => (Math.abs(value) <= threshold ? 0 : value)) : data;
    assert.equal(after.get(name)!.data, expected, name);
  }
  const { sparsity, tensors } = result.record as { sparsity: number; tensors: PrunedTensor[] };
  assert.is(sparsity, cut / magnitudes.length);
  assert.equal(
    tensors.map(({ name }) => name),
    names,
  );
  for (const tensor of tensors) {
    assert.is(tensor.zeros, zeros(after.get(tensor.name)!.data), tensor.name);
    assert.is(tensor.threshold, Math.fround(threshold));
  }
  assert.is(context.events.at(-1)!.unit, 'tensor');
});

test('tensor: every chosen tensor loses the same fraction', async () => {
  const context = testContext(textDataset(2));
  await prune(
    textModel,
    { sparsity: 0.25, scope: 'tensor', tensors: ['layers.0.*.weight', 'classifier.weight'] },
    context,
  );
  const checkpoint = await openCheckpoint(context.folder);
  for (const [name, { data }] of await checkpoint.readParameters()) {
    const chosen = (name.startsWith('layers.0.') && isLinearWeight(name)) || name === 'classifier.weight';
    assert.is(zeros(data), chosen ? Math.round(0.25 * data.length) : zeros(data), name);
    if (!chosen && isLinearWeight(name)) assert.is(zeros(data), 0, name);
  }
});

test('recovery changes the weights that stay and leaves the others at zero', async () => {
  const context = testContext(textDataset(16));
  const result = await prune(textModel, { sparsity: 0.5, recover: { epochs: 3, learningRate: 1e-2 } }, context);
  const before = await (await openCheckpoint(textModel)).readParameters();
  const after = await (await openCheckpoint(context.folder)).readParameters();
  const names = [...before.keys()].filter(encoderWeight);
  const { masks } = await magnitudeMasks(before, names, { sparsity: 0.5, scope: 'global', threads: 1 });
  let [elements, pruned] = [0, 0];
  for (const name of names) {
    const [mask, old, grown] = [masks.get(name)!, before.get(name)!.data, after.get(name)!.data];
    let changed = 0;
    mask.forEach((keep, i) => {
      if (keep) changed += grown[i] === old[i] ? 0 : 1;
      else assert.is(grown[i], 0, `${name}[${i}]`);
    });
    assert.ok(changed > 0.9 * (mask.length - zeros(Float32Array.from(mask))), `${name}: only ${changed} changed`);
    elements += mask.length;
    pruned += zeros(Float32Array.from(mask));
  }
  assert.is(pruned, Math.round(0.5 * elements));
  assert.ok(Number.isFinite(result.metrics.loss) && 'accuracy' in result.metrics);
  const recovery = (result.record as { recovery: { steps: number; curve: { loss: number }[] } }).recovery;
  assert.is(recovery.steps, 6);
  assert.ok(recovery.curve.at(-1)!.loss < recovery.curve[0]!.loss, 'the loss went down');
});

test('a recovery that trains the head alone keeps the pruned layers', async () => {
  const context = testContext(textDataset(4));
  await prune(textModel, { sparsity: 0.5, recover: { train: 'head', steps: 2, learningRate: 1e-3 } }, context);
  const parameters = await (await openCheckpoint(context.folder)).readParameters();
  const names = [...parameters.keys()].filter(encoderWeight);
  const counts = names.map((name) => [zeros(parameters.get(name)!.data), parameters.get(name)!.data.length]);
  const [pruned, elements] = counts.reduce(([a, b], [c, d]) => [a! + c!, b! + d!], [0, 0]);
  assert.is(pruned, Math.round(0.5 * elements!));
});

test('the same seed gives the same weights', async () => {
  const run = async () => {
    const context = testContext(textDataset(8));
    await prune(textModel, { sparsity: 0.5, recover: { epochs: 1, learningRate: 1e-3 } }, context);
    return (await openCheckpoint(context.folder)).readParameters();
  };
  const [first, second] = [await run(), await run()];
  for (const [name, { data }] of first) assert.equal(second.get(name)!.data, data, name);
});

test('equal magnitudes at the threshold go in order of tensor and index', async () => {
  const tensor = (...data: number[]) => ({ shape: [data.length], data: Float32Array.from(data) });
  const parameters: Parameters = new Map([
    ['b.weight', tensor(1, -1, 2, 1)],
    ['a.weight', tensor(-1, 0, -0, 1)],
  ]);
  const options = { sparsity: 0.5, scope: 'global', threads: 1 } as const;
  const { masks } = await magnitudeMasks(parameters, ['b.weight', 'a.weight'], options);
  assert.equal([...masks.get('b.weight')!], [0, 0, 1, 1]);
  assert.equal([...masks.get('a.weight')!], [1, 0, 0, 1]);
});

test('non-finite weights are named', async () => {
  const parameters: Parameters = new Map([['a.weight', { shape: [2], data: Float32Array.of(1, NaN) }]]);
  await expectError(
    () => magnitudeMasks(parameters, ['a.weight'], { sparsity: 0.5, scope: 'global', threads: 1 }),
    'BAD_CHECKPOINT',
    /tensor "a\.weight" holds NaN at element 1/,
  );
});

test('patterns match whole names, with * for any run of characters', () => {
  const names = ['layers.0.output.weight', 'layers.1.output.weight', 'classifier.weight'];
  assert.equal(matchParameters(['layers.1*'], names, 'x'), ['layers.1.output.weight']);
  assert.equal(matchParameters(['*.weight', 'classifier.weight'], names, 'x'), names);
});

test('bad options are refused with one sentence', async () => {
  const run = (options: object) => () => prune(textModel, options as never, testContext(textDataset(2)));
  await expectError(run({ sparsity: 1 }), 'BAD_OPTION', /prune options: sparsity: expected a fraction below 1/);
  await expectError(run({ sparsity: NaN }), 'BAD_OPTION', /sparsity: expected a fraction/);
  await expectError(run({}), 'BAD_OPTION', /sparsity: expected a fraction/);
  await expectError(run({ sparsity: 0.5, kind: 'heads' }), 'BAD_OPTION', /kind: expected "magnitude"/);
  await expectError(run({ sparsity: 0.5, scop: 'tensor' }), 'BAD_OPTION', /unknown key "scop"; did you mean "scope"/);
  await expectError(run({ sparsity: 0.5, tensors: ['layer.*'] }), 'BAD_OPTION', /"layer\.\*" matches none/);
  await expectError(
    run({ sparsity: 0.5, recover: { epochs: 1, learningrate: 1 } }),
    'BAD_OPTION',
    /unknown key "learningrate" in recover; did you mean "learningRate"/,
  );
  await expectError(run({ sparsity: 0.5, recover: {} }), 'BAD_OPTION', /recover: expected either epochs or steps/);
});

test.run();
