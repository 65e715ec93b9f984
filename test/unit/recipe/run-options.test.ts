import { test } from 'uvu';
import { run, type RunOptions } from '../../../lib/index.js';
import { expectError } from '../../harness.js';

test('an option that run does not have names the nearest one', async () => {
  const options = { foldr: 'x' } as unknown as RunOptions;
  await expectError(
    () => run('recipe.yaml', options),
    'BAD_OPTION',
    /run options: unknown key "foldr"; did you mean "folder"\?/,
  );
});

test('options of the wrong kind are refused', async () => {
  const options = { signal: true, onProgress: 'loud' } as unknown as RunOptions;
  await expectError(() => run('recipe.yaml', options), 'BAD_OPTION', /expected (a function|an AbortSignal)/);
});

test.run();
