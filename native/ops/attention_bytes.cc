#include "ops/attention_bytes.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace whittle {

namespace {

constexpr int64_t kTokensPerTask = 256;    // work of at least this many queries, so that short sequences share a task
constexpr int64_t kBlockBytes = 24 << 10;  // of products of a block of queries: they stay in the first-level cache
constexpr int64_t kMostBlockRows = 96;

// Tiles multiply 64 columns at once, and each call of theirs costs some hundred cycles. Measured on AMX, tiles against
// vectors: heads of 32 0.45 to 0.8 times as fast (16 to 180 tokens), heads of 64 0.6 (16), 1.06 (128) and 1.13 (180).
constexpr int64_t kLeastTileHead = 64, kLeastTileLength = 96;

const PackedProduct<uint8_t, int8_t, int32_t>& product_for(int64_t length, int64_t head_size,
                                                           const KernelTable& kernels) {
  return head_size >= kLeastTileHead && length >= kLeastTileLength ? kernels.gemm_s8 : kernels.small_gemm_s8;
}

// The memory that the heads of one sequence use one after the other.
struct HeadBuffers {
  int64_t rows;  // of a block of queries
  int64_t products_stride, weights_stride;
  void *keys, *values;   // packed
  float* key_scales;     // [length]: those of a, cut, and where vectors of them lie within lines of the cache
  float* value_ratios;   // [length]
  float* logarithms;     // [length], of those
  float* row_scales;     // [rows]
  float* factors;        // [rows]
  int32_t* products;     // [rows, products_stride]
  uint8_t* weights;      // [rows, weights_stride]
  int32_t* results;      // [rows, head_size]

  HeadBuffers(int64_t length, int64_t head_size, const KernelTable& kernels, Arena& arena) {
    const auto& product = product_for(length, head_size, kernels);
    products_stride = (length + 15) / 16 * 16;  // all columns of products, so that none is masked
    weights_stride = padded_k(length);
    // A multiple of what the product computes at once.
    const int64_t fitting = kBlockBytes / (products_stride * static_cast<int64_t>(sizeof(int32_t)));
    rows = std::clamp(fitting / product.rows * product.rows, product.rows, std::max(kMostBlockRows, product.rows));
    keys = arena.take<uint8_t>(product.packed_bytes(length, head_size));
    values = arena.take<uint8_t>(product.packed_bytes(head_size, length));
    key_scales = arena.take<float>(length);
    value_ratios = arena.take<float>(length);
    logarithms = arena.take<float>(length);
    row_scales = arena.take<float>(rows);
    factors = arena.take<float>(rows);
    products = arena.take<int32_t>(rows * products_stride);
    weights = arena.take<uint8_t>(rows * weights_stride);
    results = arena.take<int32_t>(rows * head_size);
  }
};

// One head of one sequence, its first token first.
struct Head {
  const int8_t *q, *k, *v;
  int64_t stride;
  const float *q_scales, *k_scales, *v_scales;
  int64_t queries, length, head_size;
  const ScoreBias* bias;  // or null
  float* out;
  int64_t out_stride;
};

// Scales are not negative, so that their bits are in their order: no chain of comparisons that wait for each other.
float largest_scale(const float* scales, int64_t count) {
  int32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::bit_cast<int32_t>(scales[i]));
  return std::bit_cast<float>(largest);
}

void attend(const Head& a, const HeadBuffers& t, const KernelTable& kernels) {
  const auto& product = product_for(a.length, a.head_size, kernels);
  product.pack(a.k, a.stride, 1, a.length, a.head_size, 0, a.length, t.keys);
  product.pack_unsigned(a.v, 1, a.stride, a.head_size, a.length, 0, a.head_size, t.values);

  for (int64_t j = 0; j < a.length; ++j)
    t.key_scales[j] = std::bit_cast<float>(std::bit_cast<uint32_t>(a.k_scales[j]) & kKeyScaleBits);
  const float largest = largest_scale(a.v_scales, a.length);
  const float inverse = largest == 0 ? 0.0f : 1 / largest;
  for (int64_t j = 0; j < a.length; ++j) {
    const float ratio = a.v_scales[j] * inverse;
    t.value_ratios[j] = ratio;
    const float logarithm = static_cast<float>(std::bit_cast<int32_t>(ratio) - kOneBits) * kLogarithmUnit;
    t.logarithms[j] = std::max(logarithm, kLowestLogarithm);
  }

  const float factor = kLog2E * (1 / std::sqrt(static_cast<float>(a.head_size)));
  for (int64_t begin = 0; begin < a.queries; begin += t.rows) {
    const int64_t rows = std::min(t.rows, a.queries - begin);
    product.run(reinterpret_cast<const uint8_t*>(a.q + begin * a.stride), a.stride, t.keys, rows, a.length, a.head_size,
                0, t.products_stride, t.products, t.products_stride, false);
    for (int64_t r = 0; r < rows; ++r) t.row_scales[r] = a.q_scales[begin + r] * factor;
    ScoreBias bias{};
    if (a.bias) bias = {a.bias->data + begin * a.bias->stride, a.bias->stride};
    kernels.softmax_u8(t.products, t.products_stride, rows, a.length, t.row_scales, t.key_scales, t.value_ratios,
                       t.logarithms, a.bias ? &bias : nullptr, t.weights, t.weights_stride, t.factors);
    product.run(t.weights, t.weights_stride, t.values, rows, a.head_size, a.length, 0, a.head_size, t.results,
                a.head_size, false);
    for (int64_t r = 0; r < rows; ++r) t.factors[r] *= largest;
    kernels.scale_sums_f16(t.results, a.head_size, rows, a.head_size, t.factors, a.out + begin * a.out_stride,
                           a.out_stride);
  }
}

}  // namespace

void attention_bytes(const AttentionBytes& a, const Context& context) {
  // Heads [first, last) of one sequence.
  const auto attend_heads = [&](int64_t sequence, int64_t first, int64_t last) {
    const int64_t begin = a.offsets[sequence], length = a.offsets[sequence + 1] - begin;
    if (length == 0) return;
    Arena& arena = thread_arena();
    const Arena::Scope scope(arena);
    const HeadBuffers buffers(length, a.head_size, context.kernels, arena);
    for (int64_t head = first; head < last; ++head) {
      const int64_t at = begin * a.stride + head * a.head_size, scales_at = head * a.scale_stride + begin;
      ScoreBias bias = {a.bias.data, -1};  // seen from query 0 and key 0
      if (bias.data) bias.data += head * a.bias.width() + a.bias.max_distance - 1;
      attend({a.q + at, a.k + at, a.v + at, a.stride, a.q_scales + scales_at, a.k_scales + scales_at,
              a.v_scales + scales_at, a.first_only ? 1 : length, length, a.head_size, bias.data ? &bias : nullptr,
              a.out + begin * a.out_stride + head * a.head_size, a.out_stride},
             buffers, context.kernels);
    }
  };
  const int64_t units = a.sequences * a.heads;
  if (units == 0) return;
  const int64_t mean_length = a.offsets[a.sequences] / a.sequences + 1;
  const int64_t grain =
      std::clamp<int64_t>(kTokensPerTask / mean_length, 1, std::max<int64_t>(1, units / context.threads));
  context.pool.run((units + grain - 1) / grain, context.threads, [&](int64_t task) {
    const int64_t end = std::min((task + 1) * grain, units);
    for (int64_t unit = task * grain; unit < end;) {
      const int64_t sequence = unit / a.heads, last = std::min(end, (sequence + 1) * a.heads);
      attend_heads(sequence, unit - sequence * a.heads, last - sequence * a.heads);
      unit = last;
    }
  });
}

}  // namespace whittle
