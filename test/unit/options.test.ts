import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { checkOptions, nearest } from '../../lib/options.js';
import { expectError } from '../harness.js';

const schema = z.strictObject({
  learningRate: z.number().positive(),
  stages: z.array(z.strictObject({ epochs: z.number() })).optional(),
});

test('an unknown key names the nearest right one', async () => {
  await expectError(
    () => checkOptions(schema, { learningrate: 1, learningRate: 1 }, 'options'),
    'BAD_OPTION',
    /unknown key "learningrate"; did you mean "learningRate"\?/,
  );
  await expectError(
    () => checkOptions(schema, { learningRate: 1, stages: [{ epoch: 1, epochs: 1 }] }, 'options'),
    'BAD_OPTION',
    /unknown key "epoch" in stages\[0\]; did you mean "epochs"\?/,
  );
});

test('NaN and negative numbers are refused', async () => {
  await expectError(() => checkOptions(schema, { learningRate: NaN }, 'options'), 'BAD_OPTION', /learningRate: .*NaN/);
  await expectError(() => checkOptions(schema, { learningRate: -1 }, 'options'), 'BAD_OPTION', /learningRate: /);
});

test('every kind of mistake says what was expected and what was found', async () => {
  const wording = z.strictObject({
    epochs: z.number('expected a number of epochs').positive('expected more than 0 epochs').max(100).optional(),
    steps: z.int().min(1).optional(),
    rate: z.number().lt(1, 'expected a rate below 1').multipleOf(0.25).optional(),
    mode: z.enum(['max', 'min']).optional(),
    train: z.union([z.string().regex(/^(head|all)$/, 'expected head or all'), z.array(z.string()).min(1)]).optional(),
    layers: z
      .array(z.int())
      .min(1, 'expected at least one layer')
      .refine((layers) => layers.length < 2 || layers[0]! < layers[1]!, 'expected ascending layers')
      .optional(),
    range: z.tuple([z.number(), z.number()], 'expected a range [low, high]').optional(),
    verbose: z.boolean().optional(),
    name: z.string().default('x'),
  });
  const cases: [Record<string, unknown>, string][] = [
    [{ epochs: 20000 }, 'epochs: expected a number of epochs, at most 100, but found 20000'],
    [{ epochs: 0 }, 'epochs: expected more than 0 epochs but found 0'],
    [{ epochs: 'ten' }, 'epochs: expected a number of epochs but found "ten"'],
    [{ steps: 0 }, 'steps: expected at least 1 but found 0'],
    [{ steps: 1.5 }, 'steps: expected a whole number but found 1.5'],
    [{ rate: 1 }, 'rate: expected a rate below 1 but found 1'],
    [{ rate: 0.3 }, 'rate: expected a multiple of 0.25 but found 0.3'],
    [{ mode: 'mix' }, 'mode: expected max or min but found "mix"; did you mean "max"?'],
    [{ train: 'heads' }, 'train: expected head or all but found "heads"'],
    [{ train: 3 }, 'train: expected a text or a list but found 3'],
    [{ train: [] }, 'train: expected at least 1 entry but found none'],
    [{ train: ['all', 3] }, 'train[1]: expected a text but found 3'],
    [{ layers: [] }, 'layers: expected at least one layer but found none'],
    [{ layers: [2, 1] }, 'layers: expected ascending layers but found [2,1]'],
    [{ range: [1] }, 'range: expected a range [low, high], at least 2 entries, but found [1]'],
    [{ verbose: 'yes' }, 'verbose: expected true or false but found "yes"'],
    [{ name: null }, 'name: expected a text but found nothing'],
    [{ name: { a: 'b'.repeat(80) } }, `name: expected a text but found {"a":"${'b'.repeat(51)}...`],
  ];
  for (const [value, message] of cases) {
    const error = await expectError(() => checkOptions(wording, value, 'options'), 'BAD_OPTION', /./);
    assert.is(error.message, `options: ${message}`);
  }
  const missing = await expectError(() => checkOptions(schema, {}, 'options'), 'BAD_OPTION', /./);
  assert.is(missing.message, 'options: learningRate: expected a number but it is missing');
  const none = await expectError(() => checkOptions(schema, 5, 'options'), 'BAD_OPTION', /./);
  assert.is(none.message, 'options: expected keys and values but found 5');
});

test('nearest ignores words that are far away', () => {
  assert.is(nearest('zzzzzz', ['learningRate']), undefined);
});

test('a name that no alternative has tells the nearest, short words only a near one', async () => {
  const schema = z.strictObject({
    optimizer: z
      .union([
        z.enum(['adamw', 'sgd'], 'expected one of adamw, sgd'),
        z.discriminatedUnion('kind', [
          z.strictObject({ kind: z.literal('adamw') }),
          z.strictObject({ kind: z.literal('sgd'), momentum: z.number().optional() }),
        ]),
      ])
      .optional(),
    checkpoint: z.union([z.literal(false), z.strictObject({ keep: z.number() })]).optional(),
    on: z.string().optional(),
  });
  const cases: [Record<string, unknown>, string][] = [
    [{ optimizer: 'adamx' }, 'optimizer: expected one of adamw, sgd but found "adamx"; did you mean "adamw"?'],
    [
      { optimizer: { kind: 'sgdd' } },
      'optimizer.kind: expected one of adamw, sgd but found "sgdd"; did you mean "sgd"?',
    ],
    [{ optimizer: { name: 'sgd' } }, 'optimizer.kind: expected one of adamw, sgd but it is missing'],
    [{ checkpoint: 'yes' }, 'checkpoint: expected false or keys and values but found "yes"'],
    [{ foo: 1 }, 'unknown key "foo"; expected one of optimizer, checkpoint, on'],
  ];
  for (const [options, message] of cases) {
    const error = await expectError(() => checkOptions(schema, options, 'options'), 'BAD_OPTION', /^options: /);
    assert.is(error.message, `options: ${message}`);
  }
  assert.is(nearest('c', ['a', 'b']), undefined);
  assert.is(nearest('A', ['a', 'b']), 'a');
});

test.run();
