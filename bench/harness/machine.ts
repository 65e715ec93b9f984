/** Where and on what a benchmark ran. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** `AMD EPYC (avx2 avx512f avx512_vnni avx512_bf16), 4 CPUs, 24 GB, Node 20.20.2` */
export function describeMachine(): string {
  let model = cpus()[0]?.model.trim() || 'unknown CPU';
  try {
    const info = readFileSync('/proc/cpuinfo', 'utf8');
    const flags = /^flags\s*:(.*)$/m.exec(info)?.[1]?.split(' ') ?? [];
    const telling = ['avx2', 'avx_vnni', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8', 'amx_bf16'];
    const family = /^cpu family\s*:\s*(\d+)$/m.exec(info)?.[1];
    const number = /^model\s*:\s*(\d+)$/m.exec(info)?.[1];
    model += ` family ${family} model ${number} (${telling.filter((flag) => flags.includes(flag)).join(' ')})`;
  } catch {
    // Not Linux: the model's name has to do.
  }
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  return `${model}, ${cpus().length} CPUs, ${gigabytes} GB, Node ${process.versions.node}`;
}

/** Short hash of HEAD, with `-dirty` if the working tree differs from it beyond results; `unknown` outside a clone. */
export function describeCommit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: dirname(fileURLToPath(import.meta.url)), encoding: 'utf8' }).trim();
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no', '--', ':/', ':(top,exclude)bench/results');
    return git('rev-parse', '--short', 'HEAD') + (changed ? '-dirty' : '');
  } catch {
    return 'unknown';
  }
}
