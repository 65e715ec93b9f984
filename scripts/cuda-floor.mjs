// The least time that each CUDA kernel of an encoder can take on a GPU: operations over the rate of the unit that does
// them, and bytes (each input read once, each output written once) over the bandwidth of device memory; for products also
// what their tiles read from the second-level cache. Arithmetic, not a measurement.
//   node scripts/cuda-floor.mjs [--fast] [hidden layers heads intermediate tokens length]
// --fast: as WHITTLE_CUDA_INT8=fast has it, attention on the matrix units and float16 where rows wait to be quantized.
const fast = process.argv.includes('--fast');
const [hidden = 1024, layers = 24, heads = 16, inner = 4096, tokens = 32768, length = 180] = process.argv
  .slice(2)
  .filter((argument) => argument !== '--fast')
  .map(Number);
const wide = fast ? 2 : 4; // bytes of an element that waits to be quantized

// H100 SXM, by its data sheet, dense; the cache's rate is an assumption (published measurements give 5.5 to 7 TB/s).
const gpu = { int8: 1979e12, half: 989e12, float: 66.9e12, memory: 3.35e12, cache: 5.5e12 };
// What is expected of each kind of kernel, as a share of its floor's rate: an assumption until measured.
const share = { product: 0.7, attention: 0.5, memory: 0.85 };

/** @param {number} columns of the tile of 128 rows: bytes that tiles read from the cache, one a multiplication's operand. */
const product = (name, n, k, bytes, columns = n % 256 === 0 ? 256 : 128) => ({
  name: `${name} ${tokens} x ${n} x ${k}`,
  operations: 2 * tokens * n * k,
  rate: gpu.int8,
  bytes,
  cached: tokens * n * k * (1 / columns + 1 / 128),
  kind: 'product',
});
const rows = (name, bytesAToken) => ({
  name,
  operations: 0,
  rate: 1,
  bytes: tokens * bytesAToken,
  cached: 0,
  kind: 'memory',
});

const kernels = [
  product('query, key, value', 3 * hidden, hidden, tokens * (hidden + 6 * hidden) + 3 * hidden * hidden),
  {
    name: `attention, ${heads} heads, length ${length}`,
    operations: 4 * tokens * length * hidden,
    rate: fast ? gpu.half : gpu.float,
    bytes: tokens * (6 * hidden + wide * hidden),
    cached: (tokens * (length / 64) * 4 * hidden * 64) / length + tokens * wide * hidden,
    kind: 'attention',
  },
  rows('quantize attention', wide * hidden + hidden),
  product('attention output', hidden, hidden, tokens * (hidden + 4 * hidden + 4 * hidden) + hidden * hidden),
  rows('LayerNorm, quantize', 4 * hidden + 4 * hidden + hidden),
  product('intermediate, GELU', inner, hidden, tokens * (hidden + wide * inner) + inner * hidden),
  rows('quantize GELU', wide * inner + inner),
  product('output', hidden, inner, tokens * (inner + 4 * hidden + 4 * hidden) + inner * hidden),
  rows('LayerNorm, quantize', 4 * hidden + 4 * hidden + hidden),
];

const us = (seconds) => (seconds * 1e6).toFixed(1);
console.log('| kernel | by operations, us | by bytes, us | by cache, us | floor, us | expected, us |');
console.log('| --- | --- | --- | --- | --- | --- |');
const total = { floor: 0, expected: 0 };
for (const { name, operations, rate, bytes, cached, kind } of kernels) {
  const byOperations = operations / rate;
  const byBytes = bytes / gpu.memory;
  const byCache = cached / gpu.cache;
  const floor = Math.max(byOperations, byBytes);
  const expected = Math.max(byOperations / (share[kind] ?? 1), byBytes / share.memory, byCache);
  total.floor += floor;
  total.expected += expected;
  console.log(`| ${name} | ${us(byOperations)} | ${us(byBytes)} | ${us(byCache)} | ${us(floor)} | ${us(expected)} |`);
}
const rate = (layer) => Math.round(tokens / length / (layer * layers));
console.log(`| one layer | | | | ${us(total.floor)} | ${us(total.expected)} |`);
console.log(
  `\n${layers} layers, sequences of ${length}: at most ${rate(total.floor)} a second, expected ${rate(total.expected)}`,
);
