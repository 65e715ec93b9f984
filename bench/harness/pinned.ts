/** How programs that are measured are started. */
import { spawnSync } from 'node:child_process';

/**
 * Command and arguments that run a program on these cores only and, where this is allowed (Linux, as root), before all other
 * programs of the machine, so that what else runs disturbs it little. The process keeps its id.
 */
export function pinned(cpus: readonly number[], command: string, args: readonly string[]): [string, string[]] {
  if (spawnSync('taskset', ['--version']).status !== 0) return [command, [...args]];
  // Priorities count within a session; that of the session itself is its autogroup's.
  const script = '{ renice -n -20 -p $$; echo -20 > /proc/self/autogroup; } > /dev/null 2>&1; exec taskset -c "$@"';
  return ['setsid', ['sh', '-c', script, 'sh', cpus.join(','), command, ...args]];
}
