// Compiles the CUDA kernels one by one, for the scripts that look at what the compiler made of them.
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = JSON.parse(readFileSync(join(root, 'native', 'sources.json'), 'utf8'));
const flags = ['-std=c++17', '-O3', '--expt-relaxed-constexpr', '-Inative', '-Xptxas', '-v', '-cubin'];

/**
 * Calls look({ cubin, messages }) for every source with the path of its machine code for a target such as `sm_90a`, a
 * file that is gone afterwards, and with what the assembler said of it.
 */
export function compileKernels(target, look) {
  const cubin = join(tmpdir(), `whittle-${process.pid}.cubin`);
  const arch = `-gencode=arch=${target.replace('sm_', 'compute_')},code=${target}`;
  for (const source of sources.cuda.filter((file) => file.endsWith('.cu'))) {
    const command = ['nvcc', [...flags, arch, '-o', cubin, source], { cwd: root, encoding: 'utf8' }];
    const { status, stderr, error } = spawnSync(...command);
    if (error) fail(`nvcc could not be started: ${error.message}`);
    if (status !== 0) fail(stderr);
    look({ cubin, messages: stderr });
    rmSync(cubin, { force: true });
  }
}

/** Names as the sources have them, without namespaces and parameters. */
export function demangle(mangled) {
  const { stdout, error } = spawnSync('c++filt', { input: mangled.join('\n'), encoding: 'utf8' });
  if (error) return mangled;
  return stdout
    .trimEnd()
    .split('\n')
    .map((name) =>
      name
        .replace(/whittle::cuda::|\(anonymous namespace\)::|_NV_ANON\w*::/g, '')
        .replace(/\([^()]*\)$/, '')
        .replace(/^void /, ''),
    );
}

export function fail(message) {
  console.error(message);
  process.exit(1);
}
