/** Runs the command `whittle` as a process. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../../harness.js';

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

const program = ['--import', 'tsx', join(root, 'lib', 'cli', 'main.ts')];

/** Starts `whittle ARGS`; `onOutput` sees everything that it prints so far and may end it. */
export function whittle(
  args: string[],
  onOutput?: (output: string, child: ChildProcess) => void,
  environment: Record<string, string> = {},
): Promise<Outcome> {
  return start(process.execPath, [...program, ...args], onOutput, environment);
}

/** The same where no file may grow beyond so many kilobytes, as if the disk were full. */
export function whittleOnFullDisk(kilobytes: number, args: string[]): Promise<Outcome> {
  // bash counts blocks of 1,024 bytes.
  const script = `ulimit -f ${kilobytes}; exec "$@"`;
  return start('bash', ['-c', script, 'bash', process.execPath, ...program, ...args]);
}

/** The same with a standard output that takes nothing. */
export function whittleToFullOutput(args: string[]): Promise<Outcome> {
  return start('bash', ['-c', 'exec "$@" > /dev/full', 'bash', process.execPath, ...program, ...args]);
}

/**
 * The same, twice: on a file system of so many kilobytes mounted at `folder`, then with room enough. The files below
 * `folder` after the first run are listed in between. Undefined where no file system can be mounted.
 */
export async function whittleOnTinyDisk(
  kilobytes: number,
  folder: string,
  args: string[],
): Promise<{ full: Outcome; files: string[]; roomy: Outcome } | undefined> {
  const unshare = ['-rm', '-m'].find((flag) => {
    const probe = spawnSync('unshare', [flag, 'mount', '-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', folder]);
    return probe.status === 0;
  });
  if (unshare === undefined) return undefined;
  const mark = '--- whittle-test ---';
  const script = `
    mount -t tmpfs -o size=${kilobytes}k tmpfs "$0" || exit 99
    "$@"; echo "${mark}$?"; echo "${mark}" >&2
    (cd "$0" && find . -mindepth 1 | sort); echo "${mark}"
    mount -o remount,size=256m "$0" || exit 99
    "$@"`;
  const { code, stdout, stderr } = await start('unshare', [
    ...[unshare, 'bash', '-c', script, folder],
    ...[process.execPath, ...program, ...args],
  ]);
  const [first, listing, second] = stdout.split(mark);
  const [firstErrors, secondErrors] = stderr.split(mark);
  const [exit, ...files] = listing!.trim().split('\n');
  return {
    full: { code: Number(exit), stdout: first!, stderr: firstErrors! },
    files,
    roomy: { code, stdout: second!, stderr: secondErrors! },
  };
}

function start(
  command: string,
  args: string[],
  onOutput?: (output: string, child: ChildProcess) => void,
  environment: Record<string, string> = {},
): Promise<Outcome> {
  return new Promise((done) => {
    const env = { ...process.env, ...environment };
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env });
    const outcome: Outcome = { code: null, stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => {
      outcome.stdout += chunk;
      onOutput?.(outcome.stdout + outcome.stderr, child);
    });
    child.stderr.on('data', (chunk) => {
      outcome.stderr += chunk;
      onOutput?.(outcome.stdout + outcome.stderr, child);
    });
    child.on('close', (code) => done({ ...outcome, code }));
  });
}
