// The least time that each CUDA kernel of an encoder can take on a GPU: operations over the rate of the unit that does
// them, and bytes (each input read once, each output written once) over the bandwidth of device memory; for products also
// what goes through the second-level cache and through shared memory. Arithmetic, not a measurement.
//   node scripts/cuda-floor.mjs --compress [elements]    (pruning and rounding weights)
//   node scripts/cuda-floor.mjs [--sparse] [--separate-gelu] [hidden layers heads intermediate tokens length]
// --sparse: as if weights were 2:4 sparse and multiplied by mma.sp, which whittle does not do.
// --separate-gelu: GELU and its quantization by a kernel of their own, as where gemm_gelu_panels.cuh cannot run.
const sparse = process.argv.includes('--sparse');
const separateGelu = process.argv.includes('--separate-gelu');
const [hidden = 1024, layers = 24, heads = 16, inner = 4096, tokens = 32768, length = 180] = process.argv
  .slice(2)
  .filter((argument) => !argument.startsWith('--'))
  .map(Number);
const wide = 4; // bytes of an element that waits to be quantized

// H100 SXM, by its data sheet, dense. The cache's rate is what products by panels without clusters had on an H200, whose
// multiprocessors are the same: 4.7 to 5.2 TB/s (bench/NOTES.md).
const gpu = { int8: 1979e12, memory: 3.35e12, cache: 5.1e12 };
const clock = 132 * 1.755e9; // cycles of all multiprocessors: 128 bytes of shared memory and 128 threads' instructions each
// Blocks at work at once in clusters of 1, 2 and 4: multiprocessors come in groups of 16 or 18, and clusters lie in one.
// An H200 says 120 of those of 4.
const atOnce = { 1: 132, 2: 132, 4: 120 };
// What is expected of each kind of kernel, as a share of its floor's rate: an assumption until measured.
const share = { product: 0.7, attention: 0.5, memory: 0.85, shared: 0.9, issue: 0.6 };
// Instructions for each sum of an epilogue (node scripts/cuda-instructions.mjs), with two outliers a row or with offsets;
// and of the one whose results are bytes with a scale a head.
const epilogue = 13;
const headsEpilogue = 18;
// All instructions for a sum of gemm_gelu_panels.cuh (bench/NOTES.md).
const geluEpilogue = 23.8 + 0.81 * Math.ceil(hidden / 128);

// Half of the values, and two bits each that say where they stand.
const weights = sparse ? 0.5 + 0.125 : 1;

/** Clusters of two if their panels are whole: blocks that fetch A once for both. */
const clusterOf = (panels) => [2, 1].find((size) => panels % size === 0);

/** As gelu_grid of kernel_table.h has it: the most groups, of such the largest clusters; blocks at work. */
function geluGrid(panels) {
  let best = { groups: 0 };
  for (const cluster of [1, 2, 4]) {
    const groups = Math.floor(atOnce[cluster] / panels);
    if (panels % cluster === 0 && groups > 0 && groups >= best.groups)
      best = { groups, cluster, blocks: groups * panels };
  }
  return best;
}

/**
 * How tokens x n sums are multiplied: tiles of height x width, bytes of A and W that a block fetches for 128 bytes of k,
 * blocks that have work, and whether no product of a block runs beside its epilogues.
 */
function tilesOf(n, k, kind) {
  const panels = Math.ceil(n / 128);
  if (k <= 1024) {
    // gemm_panels.cuh and gemm_gelu_panels.cuh: W stays.
    const size = kind === 'plain' ? 1 : clusterOf(panels);
    const { cluster, blocks } = kind === 'gelu' ? geluGrid(panels) : { cluster: size, blocks: atOnce[size] };
    const most = Math.ceil(tokens / 64) * panels;
    return { height: 64, width: 128, fetched: (64 * 128) / cluster, blocks: Math.min(blocks, most), alone: false };
  }
  // gemm_wgmma.cuh: rounds of tiles; clusters of four share W where that takes no more rounds than clusters of two.
  const rowTiles = Math.ceil(tokens / 128);
  const wideColumns = Math.ceil(n / 256);
  const narrow = wideColumns * 256 * 10 > n * 11 || rowTiles * wideColumns < atOnce[1];
  const width = narrow ? 128 : 256;
  const tiles = rowTiles * Math.ceil(n / width);
  const rounds = (cluster) => Math.ceil(tiles / cluster / Math.floor(atOnce[cluster] / cluster));
  const cluster = narrow ? 1 : rounds(4) <= rounds(2) ? 4 : 2;
  const fetched = (128 + (weights * width) / cluster) * 128;
  return { height: 128, width, fetched, blocks: tiles / rounds(cluster), alone: true };
}

/** kind: heads, residual, gelu or plain. resultBytes, residualBytes: of a token. */
function product(name, n, k, kind, resultBytes, residualBytes = 0) {
  const { height, width, fetched, blocks, alone } = tilesOf(n, k, kind);
  const instructions = { gelu: geluEpilogue, heads: headsEpilogue }[kind] ?? epilogue;
  const steps = (tokens * n * k) / (height * width * 128); // of 128 bytes of k
  const filled = (k <= 1024 ? height : height + width) * 128;
  const read = 4 * (height / 64) * (64 + width) * 32; // four multiplications of 32 bytes for each 64 rows
  const idle = atOnce[1] / blocks;
  const issue = (idle * (tokens * n * instructions)) / (128 * clock);
  // Blocks with GELU read the maxima of all panels of a row.
  const maxima = kind === 'gelu' ? 4 * tokens * (n / 128) ** 2 : 0;
  return {
    name: `${name} ${tokens} x ${n} x ${k}`,
    operations: idle * 2 * tokens * n * k,
    rate: gpu.int8 * (sparse ? 2 : 1),
    bytes: tokens * (k + resultBytes + residualBytes) + weights * n * k,
    cached: steps * fetched + tokens * (resultBytes + residualBytes) + maxima,
    shared: (idle * steps * (filled + read)) / (128 * clock),
    issue,
    alone: alone ? issue : 0,
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
 * Instructions of attention_s8.cu's warps, of 16 queries each: around the keys, and for each 32 of them, a fourth of what
 * prepares those among it. What shared memory does not hold comes in further chunks. Warps without queries help to
 * prepare keys.
 */
function attentionInstructions() {
  const size = hidden / heads;
  const units = Math.ceil(length / 32);
  const room = size > 64 ? 8 : size > 32 ? 9 : 14; // units of a chunk
  const chunks = Math.ceil(units / room) - 1; // further ones
  const warps = Math.ceil(length / 16);
  const idle = 4 * Math.ceil(length / 64) - warps;
  const prepared = 300 + (8 + 0.33 * size) * units + 150 * chunks;
  return ((heads * tokens) / length) * ((warps + idle) * prepared + warps * (3 * size + (288 + 0.49 * size) * units));
}

const fusedGelu = !separateGelu && hidden <= 1024 && inner % 128 === 0 && geluGrid(inner / 128).groups > 0;
// Rows between a product and its LayerNorm are float16.
const norm = rows('LayerNorm, quantize', 2 * hidden + hidden, 220 + 0.53 * hidden);
const kernels = [
  product('query, key, value', 3 * hidden, hidden, 'heads', 3 * hidden + 12 * heads),
  {
    name: `attention, ${heads} heads, length ${length}`,
    operations: 4 * tokens * length * hidden,
    rate: gpu.int8,
    bytes: tokens * (3 * hidden + 12 * heads + 2 * hidden),
    // Each block of 64 queries reads all keys and values of its head.
    cached: tokens * (hidden + 2 * hidden + Math.ceil(length / 64) * (2 * hidden + 8 * heads)),
    shared: 0,
    issue: attentionInstructions() / (4 * clock),
    alone: 0,
    kind: 'attention',
  },
  rows('quantize attention', 2 * hidden + hidden, 90 + 0.23 * hidden),
  product('attention output', hidden, hidden, 'residual', 2 * hidden, 2 * hidden),
  norm,
  ...(fusedGelu
    ? [product('intermediate, GELU, quantize', inner, hidden, 'gelu', inner)]
    : [
        product('intermediate', inner, hidden, 'plain', wide * inner),
        rows('GELU, quantize', wide * inner + inner, 500 + 0.42 * inner),
      ]),
  product('output', hidden, inner, 'residual', 2 * hidden, 2 * hidden),
  norm,
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
