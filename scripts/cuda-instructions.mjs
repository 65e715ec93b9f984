// The instructions of every CUDA kernel, and of each of its innermost loops, by kind.
//   node scripts/cuda-instructions.mjs [sm_90a] [--kernel PART-OF-A-NAME] [--cuobjdump PATH]
// A scheduler issues one instruction a cycle, so a loop's share of multiply-adds (or of matrix instructions' cycles) is
// the most that its units can reach. Every instruction has 16 bytes. "Longest way": instructions on the longest way through
// the kernel that goes through each loop once and calls nothing (divisions call for operands out of the ordinary), which
// is what a warp of a kernel without loops issues at most. Kernels that a kind of GPU never runs are left out.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { compileKernels, demangle, fail } from './cuda-kernels.mjs';

const { values, positionals } = parsed();
const cuobjdump = values.cuobjdump ?? process.env.CUOBJDUMP ?? 'cuobjdump';
if (spawnSync(cuobjdump, ['--version']).status !== 0)
  fail(
    `Expected NVIDIA's disassembler but could not start ${cuobjdump}: it comes with the CUDA toolkit, and in the triton ` +
      'package of PyPI (triton/backends/nvidia/bin/cuobjdump); name it with --cuobjdump PATH or CUOBJDUMP=PATH',
  );

const kinds = [
  ['FFMA', /^FFMA/],
  ['matrix', /^([A-Z]+GMMA|[BDHIQ]MMA)/],
  ['LDS', /^LDS/],
  ['LDG', /^LDG(STS)?\b/],
  ['STS', /^STS/],
  ['STG', /^STG/],
  ['integer, logic', /^(U?(I[A-Z]+3?|LEA|LOP3|SHF|PRMT|SEL|BREV|FLO|POPC|PLOP3|VOTEU?)|VI\w+|P2R|R2P)\b/],
];

const mostOfWait = 8; // instructions

const functions = [];
compileKernels(positionals[0] ?? 'sm_90a', ({ cubin }) => {
  const { status, stdout, stderr } = spawnSync(cuobjdump, ['-sass', cubin], { encoding: 'utf8', maxBuffer: 2 ** 30 });
  if (status !== 0) fail(stderr);
  functions.push(...functionsOf(stdout));
});
const names = demangle(functions.map(({ name }) => name));
console.log(`| kernel | longest way | instructions | bytes | ${kinds.map(([kind]) => kind).join(' | ')} | rest |`);
console.log(`| --- | --- | --- | --- | ${kinds.map(() => '---').join(' | ')} | --- |`);
functions.forEach(({ instructions }, i) => {
  if (instructions.length <= 32 || !names[i].includes(values.kernel)) return;
  console.log(`| ${names[i]} | ${longestWay(instructions)} | ${cellsOf(instructions)} |`);
  const places = new Map(); // of equal loops
  for (const loop of innermostLoops(instructions)) {
    const cells = cellsOf(loop);
    places.set(cells, [...(places.get(cells) ?? []), `0x${loop[0].address.toString(16)}`]);
  }
  for (const [cells, at] of places) console.log(`| - loop at ${at.join(', ')} | | ${cells} |`);
});

function parsed() {
  try {
    const options = { kernel: { type: 'string', default: '' }, cuobjdump: { type: 'string' } };
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    return fail(error.message);
  }
}

function cellsOf(instructions) {
  const counts = kinds.map(([, pattern]) => instructions.filter(({ text }) => pattern.test(text)).length);
  const rest = instructions.length - counts.reduce((sum, count) => sum + count, 0);
  const shares = [...counts, rest].map((count) => share(count, instructions.length));
  return [instructions.length, 16 * instructions.length, ...shares].join(' | ');
}

function share(count, all) {
  return count === 0 ? '0' : `${count} (${((100 * count) / all).toFixed(1)} %)`;
}

/** Of the disassembly: names, and instructions with their addresses, predicates and texts. */
function functionsOf(disassembly) {
  return disassembly
    .split(/^\s*Function : /m)
    .slice(1)
    .map((part) => {
      const lines = part.matchAll(/^\s+\/\*([0-9a-f]{4,})\*\/\s+(?:(@!?U?P[T\d]+) +)?([A-Z].*?) *;/gm);
      const instructions = [...lines].map(([, address, predicate, text]) => {
        const target = /^(BRA|JMP)\b/.test(text) ? text.match(/0x([0-9a-f]+)/)?.[1] : undefined;
        return { address: parseInt(address, 16), predicate, text, target: target && parseInt(target, 16) };
      });
      return { name: part.match(/^\S+/)[0], instructions };
    });
}

/**
 * Loops without loops in them, in the order of their first instructions: natural loops, that is what reaches a branch
 * back to a block that all ways to the branch go through (code that was only moved behind the rest is no loop). Those of
 * a few instructions, which wait for a barrier, don't count.
 */
function innermostLoops(instructions) {
  const blocks = basicBlocks(instructions);
  const dominators = dominatorsOf(blocks);
  const loops = new Map(); // header -> blocks
  blocks.forEach((block, from) => {
    for (const header of block.next.filter((to) => dominators[from].has(to))) {
      const body = loops.get(header) ?? new Set([header]);
      const open = [from];
      while (open.length > 0) {
        const at = open.pop();
        if (body.has(at)) continue;
        body.add(at);
        open.push(...blocks[at].previous);
      }
      loops.set(header, body);
    }
  });
  const countOf = (header) => [...loops.get(header)].reduce((sum, block) => sum + blocks[block].instructions.length, 0);
  const headers = [...loops.keys()].filter((header) => countOf(header) > mostOfWait);
  return headers
    .filter((header) => !headers.some((other) => other !== header && loops.get(header).has(other)))
    .sort((one, other) => one - other)
    .map((header) => [...loops.get(header)].sort((a, b) => a - b).flatMap((block) => blocks[block].instructions));
}

/** See above. */
function longestWay(instructions) {
  const blocks = basicBlocks(instructions);
  const ways = new Map();
  const under = new Set(); // blocks whose ways are being looked for: a branch to one of them closes a loop
  const wayFrom = (at) => {
    if (ways.has(at)) return ways.get(at);
    under.add(at);
    const { instructions: own, next } = blocks[at];
    const calls = own.some(({ text }) => /^CALL/.test(text));
    const issued = own.filter(({ predicate }) => predicate !== '@!PT').length;
    const open = next.filter((to) => !under.has(to)).map(wayFrom);
    const way = calls ? -Infinity : issued + (next.length === 0 ? 0 : Math.max(-Infinity, ...open));
    under.delete(at);
    ways.set(at, way);
    return way;
  };
  return wayFrom(0);
}

/** Instructions up to the next branch or target of one, with the numbers of the blocks that may come next or before. */
function basicBlocks(instructions) {
  const targets = new Set(instructions.map(({ target }) => target));
  const blocks = [];
  let ended = true;
  for (const instruction of instructions) {
    if (ended || targets.has(instruction.address)) blocks.push({ instructions: [], next: [], previous: [] });
    blocks.at(-1).instructions.push(instruction);
    ended = instruction.target !== undefined || /^(EXIT|RET)\b/.test(instruction.text);
  }
  const starting = new Map(blocks.map((block, i) => [block.instructions[0].address, i]));
  blocks.forEach((block, i) => {
    const { target, predicate, text } = block.instructions.at(-1);
    if (starting.has(target)) block.next.push(starting.get(target));
    const always = !predicate && /^(BRA (?!.*P\d)|BRA\.U |JMP|EXIT|RET)/.test(text);
    if (!always && i + 1 < blocks.length) block.next.push(i + 1);
    for (const to of block.next) blocks[to].previous.push(i);
  });
  return blocks;
}

/** For each block the blocks that all ways from the first one to it go through, itself among them; empty if none does. */
function dominatorsOf(blocks) {
  const dominators = blocks.map((_, i) => (i === 0 ? new Set([0]) : undefined));
  for (let changed = true; changed;) {
    changed = false;
    for (let i = 1; i < blocks.length; ++i) {
      const known = blocks[i].previous.map((from) => dominators[from]).filter(Boolean);
      if (known.length === 0) continue;
      const common = new Set([...known[0]].filter((block) => known.every((set) => set.has(block)))).add(i);
      if (common.size === dominators[i]?.size) continue;
      dominators[i] = common;
      changed = true;
    }
  }
  return dominators.map((set) => set ?? new Set());
}
