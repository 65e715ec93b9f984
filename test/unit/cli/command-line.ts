/** Runs the command `whittle` as a process. */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../../harness.js';

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

const program = ['--import', 'tsx', join(root, 'lib', 'cli', 'main.ts')];

/** Starts `whittle ARGS`; `onOutput` sees everything that it prints so far and may end it. */
export function whittle(args: string[], onOutput?: (output: string, child: ChildProcess) => void): Promise<Outcome> {
  return start(process.execPath, [...program, ...args], onOutput);
}

/** The same where no file may grow beyond so many kilobytes, as if the disk were full. */
export function whittleOnFullDisk(kilobytes: number, args: string[]): Promise<Outcome> {
  // bash counts blocks of 1,024 bytes.
  const script = `ulimit -f ${kilobytes}; exec "$@"`;
  return start('bash', ['-c', script, 'bash', process.execPath, ...program, ...args]);
}

function start(
  command: string,
  args: string[],
  onOutput?: (output: string, child: ChildProcess) => void,
): Promise<Outcome> {
  return new Promise((done) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
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
