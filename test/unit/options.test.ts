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

test('nearest ignores words that are far away', () => {
  assert.is(nearest('zzzzzz', ['learningRate']), undefined);
});

test.run();
