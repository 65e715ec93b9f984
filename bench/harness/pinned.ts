/** How programs that are measured are started. */
import { spawnSync } from 'node:child_process';

/** Command and arguments that run a program on these cores only, where `taskset` is installed. The process keeps its id. */
export function pinned(cpus: readonly number[], command: string, args: readonly string[]): [string, string[]] {
  if (spawnSync('taskset', ['--version']).status !== 0) return [command, [...args]];
  return ['taskset', ['-c', cpus.join(','), command, ...args]];
}
