/** Files and folders that appear whole or not at all: written aside, synced, renamed. A leaf. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { WhittleError } from '../bindings/errors.js';

/**
 * Writes a file so that readers see the old content or the new, never a part.
 * @throws WhittleError IO: full disk, permissions.
 * @example
 * await writeFileWhole('runs/a/report.json', JSON.stringify(report));
 */
export async function writeFileWhole(path: string, content: string | Uint8Array): Promise<void> {
  const target = resolve(path);
  const aside = join(dirname(target), `.${basename(target)}.${process.pid}-${unique()}`);
  try {
    await makeFolder(dirname(target));
    const file = await open(aside, 'wx');
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, target);
    await syncPath(dirname(target));
  } catch (error) {
    await rm(aside, { force: true }).catch(() => undefined);
    throw writeError(error, path);
  }
}

/**
 * Writes a folder through `fill`, which gets an empty temporary folder beside it. On success the temporary folder
 * takes the place of `folder`, which is replaced if it exists; on failure nothing is left behind.
 * @throws what `fill` throws, with file system errors turned into WhittleError IO.
 * @example
 * await writeFolderWhole('runs/a/quantize', async (aside) => writeFile(join(aside, 'config.json'), '{}'));
 */
export async function writeFolderWhole(folder: string, fill: (aside: string) => Promise<void>): Promise<void> {
  const target = resolve(folder);
  let aside: string | undefined;
  try {
    await makeFolder(dirname(target));
    aside = join(dirname(target), `.${basename(target)}.aside-${process.pid}-${unique()}`);
    await mkdir(aside);
    await fill(aside);
    await syncTree(aside);
    await replaceFolder(aside, target);
    await syncPath(dirname(target));
  } catch (error) {
    if (aside) await rm(aside, { recursive: true, force: true }).catch(() => undefined);
    throw writeError(withoutAside(error, aside, target), folder);
  }
}

/** The same error about the folder that the caller knows, not the one beside it. */
function withoutAside(error: unknown, aside: string | undefined, target: string): unknown {
  if (!(error instanceof WhittleError) || !aside || !error.message.includes(aside)) return error;
  return new WhittleError(error.code, error.message.replaceAll(aside, target), { cause: error });
}

/**
 * A folder and those above it, where they are missing. Unlike `mkdir` with `recursive`, it ends where a file system
 * takes no folders (Node 20 tries forever under /proc).
 */
export async function makeFolder(folder: string): Promise<void> {
  const missing: string[] = [];
  for (let path = resolve(folder); ; path = dirname(path)) {
    try {
      await mkdir(path);
      break;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST' && (await stat(path)).isDirectory()) break;
      if (code !== 'ENOENT' || (await isThere(dirname(path)))) throw error;
      missing.push(path);
    }
  }
  for (const path of missing.reverse()) {
    await mkdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error; // another process was faster
    });
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function replaceFolder(aside: string, target: string): Promise<void> {
  if (!(await isThere(target))) return rename(aside, target);
  const old = join(dirname(target), `.${basename(target)}.old-${process.pid}-${unique()}`);
  await rename(target, old);
  try {
    await rename(aside, target);
  } catch (error) {
    await rename(old, target);
    throw error;
  }
  await rm(old, { recursive: true, force: true });
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else await syncPath(path);
  }
  await syncPath(folder);
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Removes what the writers above left in a folder because their process was killed. Nobody may be writing there.
 * @example
 * await removeAsides('runs/a');
 */
export async function removeAsides(folder: string): Promise<void> {
  const names = await readdir(folder).catch((): string[] => []);
  for (const name of names)
    if (/^\..+\.((aside|old)-)?\d+-[0-9a-f]{8}$/.test(name))
      await rm(join(folder, name), { recursive: true, force: true });
}

/** A file system error as WhittleError IO; every other error as it is. */
export function writeError(error: unknown, path: string): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (error instanceof WhittleError || syscall === undefined) return error;
  const causes: Record<string, string> = {
    ENOSPC: 'the disk is full',
    EDQUOT: 'the disk quota is used up',
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'the file system is read-only',
    EFBIG: 'it would be larger than this system allows',
    EEXIST: 'a file is in the way',
    ENOTDIR: 'a part of the path is a file',
    ...(syscall === 'mkdir' && { ENOENT: 'no folder can be made there' }),
  };
  return new WhittleError('IO', `${path} could not be written: ${causes[code ?? ''] ?? message}`, { cause: error });
}

/** Tells apart what the threads of this process write at once. */
function unique(): string {
  return randomBytes(4).toString('hex');
}
