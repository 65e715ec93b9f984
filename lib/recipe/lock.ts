/** Keeps two processes, or two runs of one process, out of the same run folder. */
import { readFileSync } from 'node:fs';
import { open, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import { makeFolder, writeError } from '../atomic.js';

interface Owner {
  pid: number;
  host: string;
  /** When the process started, in the kernel's ticks; tells a process from a later one of the same id. */
  started: string | undefined;
}

/**
 * Locks `folder` until the returned function is called. The lock of a process that is gone is taken over.
 * @param name what errors call the thing that is locked.
 * @throws WhittleError `IO` if a living process holds it, the folder is a file, or it cannot be written.
 *
 * @example
 * const unlock = await lockFolder('runs/quickstart');
 * try { ... } finally { await unlock(); }
 */
export async function lockFolder(folder: string, name = folder): Promise<() => Promise<void>> {
  const file = join(folder, '.lock');
  const own: Owner = { pid: process.pid, host: hostname(), started: startOf(process.pid) };
  await makeLockFolder(folder, name);
  for (let attempt = 0; ; attempt++) {
    try {
      const handle = await open(file, 'wx');
      try {
        await handle.writeFile(JSON.stringify(own)).finally(() => handle.close());
      } catch (error) {
        await rm(file, { force: true });
        throw error;
      }
      return () => rm(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw writeError(error, name);
    }
    const owner = await readOwner(file);
    if (attempt >= 3 || (owner && isAlive(owner))) {
      throw new WhittleError(
        'IO',
        `${name} is in use by process ${owner?.pid ?? 'unknown'}${owner && owner.host !== own.host ? ` on ${owner.host}` : ''}; ` +
          `expected nobody to be writing there (if that process is gone, delete ${file})`,
      );
    }
    await rm(file, { force: true });
  }
}

async function makeLockFolder(folder: string, name: string): Promise<void> {
  try {
    await makeFolder(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST' && name === folder)
      throw new WhittleError('IO', `${folder}: expected a folder to write to but found a file`, { cause: error });
    throw writeError(error, name);
  }
}

async function readOwner(file: string): Promise<Owner | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Owner;
  } catch {
    return undefined; // gone, or cut off by the crash of its writer
  }
}

function isAlive({ pid, host, started }: Owner): boolean {
  if (host !== hostname()) return true; // another machine's: not for us to judge
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return started === undefined || startOf(pid) === started;
}

/** Field 22 of /proc/PID/stat; undefined where there is no /proc. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
