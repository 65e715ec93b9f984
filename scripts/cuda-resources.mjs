// What nvcc's assembler says of every CUDA kernel: registers, stack and spilled bytes, for each kind of GPU.
//   node scripts/cuda-resources.mjs [sm_80 sm_90a ...]
// Ends with an error if a kernel spills registers. Kernels that a kind of GPU never runs are empty there and left out.
import { compileKernels, demangle, fail } from './cuda-kernels.mjs';

const targets = process.argv.length > 2 ? process.argv.slice(2) : ['sm_80', 'sm_86', 'sm_89', 'sm_90a'];
const rows = [];
for (const target of targets) compileKernels(target, ({ messages }) => rows.push(...kernelsOf(messages, target)));
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
