// The least time that each CUDA kernel of an encoder can take on a GPU: operations over the rate of the unit that does
// them, and bytes (each input read once, each output written once) over the bandwidth of device memory; for products also
// what their tiles read from the second-level cache and move through shared memory. Arithmetic, not a measurement.
//   node scripts/cuda-floor.mjs --compress [elements]    (pruning and rounding weights)
//   node scripts/cuda-floor.mjs [--sparse] [hidden layers heads intermediate tokens length]
// --sparse: as if weights were 2:4 sparse and multiplied by mma.sp, which whittle does not do.
const sparse = process.argv.includes('--sparse');
const [hidden = 1024, layers = 24, heads = 16, inner = 4096, tokens = 32768, length = 180] = process.argv
  .slice(2)
  .filter((argument) => !argument.startsWith('--'))
  .map(Number);
const wide = 4; // bytes of an element that waits to be quantized

// H100 SXM, by its data sheet, dense; the cache's rate is an assumption (published measurements give 5.5 to 7 TB/s).
const gpu = { int8: 1979e12, memory: 3.35e12, cache: 5.5e12 };
const clock = 132 * 1.755e9; // cycles of all multiprocessors: 128 bytes of shared memory and 128 threads' instructions each
// What is expected of each kind of kernel, as a share of its floor's rate: an assumption until measured.
const share = { product: 0.7, attention: 0.5, memory: 0.85, shared: 0.9, issue: 0.6 };
// Instructions for each sum of an epilogue (node scripts/cuda-instructions.mjs), with two outliers a row or with offsets;
// and of the one whose results are bytes with a scale a head.
const epilogue = 14;
const headsEpilogue = 19;
// All instructions for a sum of gemm_gelu_panels.cuh (bench/NOTES.md), and bytes that its shuffles move through shared
// memory's pipes, if they take turns with it.
const geluEpilogue = 33 + 0.97 * Math.ceil(hidden / 128);
const shuffled = 5 * 4;

// Half of the values, and two bits each that say where they stand.
const weights = sparse ? 0.5 + 0.125 : 1;
/**
 * Operands of at most 1,024 bytes of k, by gemm_panels.cuh: tiles of 64 x 128, of which W stays, with the epilogue beside
 * the products of other tiles. Others by gemm_wgmma.cuh: tiles of 128 x 256, whose epilogue no product of the block runs
 * beside.
 */
function product(name, n, k, rowBytes, instructions = epilogue, gelu = false) {
  const panels = k <= 1024;
  const [height, width] = panels ? [64, 128] : [128, 256];
  const steps = (tokens * n * k) / (height * width * 128); // of 128 bytes of k
  const filled = (panels ? height : height + width) * 128;
  // Panels stay; of other W two blocks fetch half each, for both.
  // With GELU four panels fetch their rows once.
  const fetched = (panels ? height / (gelu ? 4 : 1) : height + (weights * width) / 2) * 128;
  const read = 4 * (height / 64) * (64 + width) * 32; // four multiplications of 32 bytes for each 64 rows
  const issue = (tokens * n * instructions) / (128 * clock);
  return {
    name: `${name} ${tokens} x ${n} x ${k}`,
    operations: 2 * tokens * n * k,
    rate: gpu.int8 * (sparse ? 2 : 1),
    bytes: tokens * rowBytes + weights * n * k,
    cached: steps * fetched,
    shared: (steps * (filled + read) + (gelu ? tokens * n * shuffled : 0)) / (128 * clock),
    issue,
    alone: panels ? 0 : issue,
    kind: 'product',
  };
}
/** `instructions` of warps for a token, by node scripts/cuda-instructions.mjs (bench/NOTES.md). */
const rows = (name, bytesAToken, instructions) => ({
  name,
  operations: 0,
  rate: 1,
  bytes: tokens * bytesAToken,
  cached: 0,
  shared: 0,
  issue: (tokens * instructions) / (4 * clock),
  alone: 0,
  kind: 'memory',
});

/**
 * Instructions of attention_s8.cu's warps, of 16 queries each: around the keys, and for each 32 of them, up to 192 (128 where
 * heads are wide). Those behind come in further chunks, and are multiplied twice. Warps without queries help with copies.
 */
function attentionInstructions() {
  const size = hidden / heads;
  const units = Math.ceil(length / 32);
  const kept = size > 64 ? 4 : 6;
  const chunks = Math.ceil(units / kept) - 1; // further ones
  const warps = Math.ceil(length / 16);
  const idle = 4 * Math.ceil(length / 64) - warps;
  const keys = (316 + 0.36 * size) * units + 75 * Math.max(units - kept, 0);
  return ((heads * tokens) / length) * (warps * (290 + 3 * size + keys + 480 * chunks) + idle * (350 + 480 * chunks));
}

const kernels = [
  product('query, key, value', 3 * hidden, hidden, hidden + 3 * hidden + 12 * heads, headsEpilogue),
  {
    name: `attention, ${heads} heads, length ${length}`,
    operations: 4 * tokens * length * hidden,
    rate: gpu.int8,
    bytes: tokens * (3 * hidden + 12 * heads + wide * hidden),
    cached: (tokens * (length / 64) * 2 * hidden * 64) / length + tokens * wide * hidden,
    shared: 0,
    issue: attentionInstructions() / (4 * clock),
    alone: 0,
    kind: 'attention',
  },
  rows('quantize attention', wide * hidden + hidden, 90 + 0.23 * hidden),
  product('attention output', hidden, hidden, hidden + 4 * hidden + 4 * hidden),
  rows('LayerNorm, quantize', 4 * hidden + hidden, 220 + 0.57 * hidden),
  product('intermediate, GELU, quantize', inner, hidden, hidden + inner, geluEpilogue, true),
  product('output', hidden, inner, inner + 4 * hidden + 4 * hidden),
  rows('LayerNorm, quantize', 4 * hidden + hidden, 220 + 0.57 * hidden),
];

const us = (seconds) => (seconds * 1e6).toFixed(1);
if (process.argv.includes('--compress')) {
  floorsOfCompression(Number(process.argv[3] ?? 302e6));
  process.exit(0);
}
console.log(
  '| kernel | operations, us | memory, us | cache, us | shared memory, us | instructions, us | floor, us | expected, us |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
const total = { floor: 0, expected: 0 };
for (const { name, operations, rate, bytes, cached, shared, issue, alone, kind } of kernels) {
  const byOperations = operations / rate;
  const byBytes = bytes / gpu.memory;
  const byCache = cached / gpu.cache;
  const floor = Math.max(byOperations, byBytes, shared, issue);
  const expected =
    Math.max(
      byOperations / (share[kind] ?? 1),
      byBytes / share.memory,
      byCache,
      shared / share.shared,
      issue / share.issue,
    ) +
    alone / share.issue;
  total.floor += floor;
  total.expected += expected;
  const columns = [byOperations, byBytes, byCache, shared, issue, floor, expected].map((seconds) => us(seconds));
  console.log(`| ${name} | ${columns.join(' | ')} |`);
}
const rate = (layer) => Math.round(tokens / length / (layer * layers));
console.log(`| one layer | | | | | | ${us(total.floor)} | ${us(total.expected)} |`);
console.log(
  `\n${layers} layers, sequences of ${length}: at most ${rate(total.floor)} a second, expected ${rate(total.expected)}`,
);

/** @param {number} n weights, float32 on the host; those of BERT-large's layers if absent. */
function floorsOfCompression(n) {
  const bus = 64e9; // PCIe 5.0 x 16, one way
  // A multiprocessor's shared memory takes a word of each of its 32 banks a cycle, and twice for an atomic addition.
  const counts = 132 * 16 * 1.755e9;
  const steps = [
    ['weights to the GPU', 0, (4 * n) / bus],
    ['magnitude_histogram, upper bits', n / counts, (4 * n) / gpu.memory],
    ['magnitude_histogram, lower bits', 0, (4 * n) / gpu.memory],
    ['magnitude_mask', 0, (5 * n) / gpu.memory],
    ['masks back', 0, n / bus],
    ['quantize_weight_rows', 0, (5 * n) / gpu.memory],
    ['int8 back', 0, n / bus],
  ];
  console.log('| step | by counting, us | by bytes, us |\n| --- | --- | --- |');
  for (const [name, byCounting, byBytes] of steps) console.log(`| ${name} | ${us(byCounting)} | ${us(byBytes)} |`);
}
