/** Small things that many test files need. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WhittleError, type WhittleErrorCode } from '../bindings/errors.js';
import * as assert from 'uvu/assert';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** Says loudly that a test could not run here; the runner counts it as skipped. Call it and return. */
export function skip(reason: string): void {
  console.log(`\nSKIPPED: ${reason}`);
}

/** A folder that lies beside the checkout on the maintainers' machines: real data and models. */
export function sharedFolder(path: string): string | undefined {
  const folder = join(root, '..', 'shared', path);
  return existsSync(folder) ? folder : undefined;
}

const temporaryFolders: string[] = [];

function removeTemporaryFolders(): void {
  for (const folder of temporaryFolders) rmSync(folder, { recursive: true, force: true });
}

/** A new empty folder, removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'whittle-test-'));
  if (temporaryFolders.push(folder) === 1) process.on('exit', removeTemporaryFolders);
  return folder;
}

/** Runs `action` and expects a WhittleError with this code whose message matches. */
export async function expectError(
  action: () => unknown,
  code: WhittleErrorCode,
  message: RegExp,
): Promise<WhittleError> {
  try {
    await action();
  } catch (error) {
    assert.instance(
      error,
      WhittleError,
      `expected a WhittleError but caught ${String((error as Error)?.stack ?? error)}`,
    );
    assert.is((error as WhittleError).code, code, (error as Error).message);
    assert.match((error as Error).message, message);
    return error as WhittleError;
  }
  assert.unreachable(`expected a WhittleError with code ${code}`);
  throw new Error('unreachable');
}
