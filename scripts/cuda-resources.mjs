// What nvcc's assembler says of every CUDA kernel: registers, stack and spilled bytes, for each kind of GPU.
//   node scripts/cuda-resources.mjs [sm_80 sm_90a ...]
// Ends with an error if a kernel spills registers. Kernels that a kind of GPU never runs are empty there and left out.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const sources = JSON.parse(readFileSync(join(root, 'native', 'sources.json'), 'utf8'));
const targets = process.argv.length > 2 ? process.argv.slice(2) : ['sm_80', 'sm_86', 'sm_89', 'sm_90a'];
const flags = ['-std=c++17', '-O3', '--expt-relaxed-constexpr', '-Inative', '-Xptxas', '-v', '-cubin'];

const rows = [];
for (const source of sources.cuda.filter((file) => file.endsWith('.cu'))) {
  for (const target of targets) {
    const arch = `-gencode=arch=${target.replace('sm_', 'compute_')},code=${target}`;
    const out = join(tmpdir(), `whittle-${process.pid}.cubin`);
    const { status, stderr, error } = spawnSync('nvcc', [...flags, arch, '-o', out, source], {
      cwd: root,
      encoding: 'utf8',
    });
    if (error) fail(`nvcc could not be started: ${error.message}`);
    if (status !== 0) fail(stderr);
    rows.push(...kernelsOf(stderr, target));
  }
}
const names = demangle(rows.map(({ name }) => name));
const used = rows.map((row, i) => ({ ...row, name: names[i] })).filter(({ registers }) => registers > 8);
console.log(`| kernel | target | registers | stack | spilled (stores, loads) |\n| --- | --- | --- | --- | --- |`);
for (const { name, target, registers, stack, stores, loads } of used)
  console.log(`| ${name} | ${target} | ${registers} | ${stack} | ${stores}, ${loads} |`);
if (used.some(({ stores, loads }) => stores + loads > 0)) fail('some kernels spill registers');

/** `Compiling entry function`, `... bytes stack frame, ...`, `Used N registers` come in this order for each kernel. */
function kernelsOf(text, target) {
  const pattern =
    /entry function '(\S+)'[^]*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads[^]*?Used (\d+) registers/g;
  return [...text.matchAll(pattern)].map(([, name, ...numbers]) => {
    const [stack, stores, loads, registers] = numbers.map(Number);
    return { name, target, stack, stores, loads, registers };
  });
}

function demangle(mangled) {
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

function fail(message) {
  console.error(message);
  process.exit(1);
}
