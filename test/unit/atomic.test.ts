import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeError, writeFileWhole, writeFolderWhole } from '../../lib/atomic.js';
import { expectError, temporaryFolder } from '../harness.js';

test('a file is replaced whole and nothing else is left', async () => {
  const folder = temporaryFolder();
  await writeFileWhole(join(folder, 'a', 'b.json'), 'one');
  await writeFileWhole(join(folder, 'a', 'b.json'), 'two');
  assert.is(readFileSync(join(folder, 'a', 'b.json'), 'utf8'), 'two');
  assert.equal(readdirSync(join(folder, 'a')), ['b.json']);
});

test('a file that cannot be written is an IO error that names it', async () => {
  const file = join(temporaryFolder(), 'a');
  writeFileSync(file, '');
  await expectError(
    () => writeFileWhole(join(file, 'x.json'), 'x'),
    'IO',
    /x\.json could not be written: a file is in the way/,
  );
});

test('a folder whose filling fails leaves the older one untouched', async () => {
  const folder = join(temporaryFolder(), 'model');
  await writeFolderWhole(folder, (aside) => writeFile(join(aside, 'config.json'), 'old'));
  let caught: unknown;
  await writeFolderWhole(folder, async (aside) => {
    await writeFile(join(aside, 'config.json'), 'new');
    throw new Error('midway');
  }).catch((error) => (caught = error));
  assert.match(String(caught), /midway/);
  assert.is(readFileSync(join(folder, 'config.json'), 'utf8'), 'old');
  assert.equal(readdirSync(join(folder, '..')), ['model']);
});

test('a folder is replaced with its old files gone', async () => {
  const folder = join(temporaryFolder(), 'model');
  await writeFolderWhole(folder, async (aside) => writeFileSync(join(aside, 'old.txt'), '1'));
  await writeFolderWhole(folder, async (aside) => writeFileSync(join(aside, 'new.txt'), '2'));
  assert.not.ok(existsSync(join(folder, 'old.txt')));
  assert.equal(readdirSync(join(folder, '..')), ['model']);
});

test('errors that no system call made stay as they are', () => {
  const error = new TypeError('x');
  assert.is(writeError(error, 'x'), error);
});

test.run();
