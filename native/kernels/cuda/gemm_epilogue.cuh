// What both kinds of products do with their sums: scales, outliers, bias, activation, residual, and storing.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/normal_tail.h"

namespace whittle::cuda {

// Which blocks of A and W step `step` of the inner loop multiplies: split operands have two parts, and three of the
// four products of parts matter.
struct Steps {
  int blocks;  // of a part
  bool split;

  __device__ __forceinline__ int count() const { return split ? 3 * blocks : blocks; }
  __device__ __forceinline__ int stored() const { return split ? 2 * blocks : blocks; }
  __device__ __forceinline__ int a(int step) const { return step < blocks ? step : step - blocks; }
  __device__ __forceinline__ int w(int step) const { return step < 2 * blocks ? step : step - 2 * blocks; }
};
__device__ __forceinline__ Steps steps_of(const Operand& a) {
  return {static_cast<int>(part_blocks(a.form, a.k)), a.form == Form::split};
}

// GELU in its erf form.
__device__ __forceinline__ float gelu(float x) {
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752440f));
}

// kernels/normal_tail.h in the GPU's memory: a warp reads one power of its pieces from one cache line.
struct NormalTailTable {
  alignas(128) float powers[5][32];
};
constexpr NormalTailTable normal_tail_table() {
  NormalTailTable table{};
  for (int power = 0; power < 5; ++power)
    for (int piece = 0; piece < 32; ++piece) table.powers[power][piece] = kNormalTail[power][piece];
  return table;
}
static __device__ const NormalTailTable device_normal_tail = normal_tail_table();

// GELU with the bits of the CPU's int8 engine (kernels/ref/epilogue_s8.cc).
__device__ __forceinline__ float gelu_of_table(float x) {
  const float z = fabsf(x) < kNormalTailEnd ? fabsf(x) : kNormalTailEnd;
  const float rounded = add(multiply_add(z, kNormalTailPieces, kRoundingShift), -kRoundingShift);
  const float t = multiply_add(z, kNormalTailPieces, -rounded);
  const int piece = static_cast<int>(rounded);
  float tail = device_normal_tail.powers[4][piece];
#pragma unroll
  for (int power = 3; power >= 0; --power) tail = multiply_add(tail, t, device_normal_tail.powers[power][piece]);
  return multiply(x, x >= 0 ? add(1.0f, -tail) : tail);
}

template <typename Sum>
constexpr bool kIsInt8 = Sum(1) / 2 == 0;  // sums are int32

// One row of a tile.
struct TileRow {
  int64_t row;
  bool valid;
  float scale;
  int outliers, offset;
};
template <typename Sum>
__device__ __forceinline__ TileRow tile_row(const Gemm& g, int64_t row, int64_t rows) {
  TileRow result{row, row < rows, 1.0f, 0, 0};
  if (kIsInt8<Sum> && result.valid) {
    result.scale = g.a.scales[row];
    if (g.a.most_outliers > 0) result.outliers = g.a.outlier_counts[row];
    if (g.a.offsets) result.offset = g.a.offsets[row];
  }
  return result;
}

// Adds the row's offset, and what its outliers have beyond int8, to columns column up to column + 7.
__device__ __forceinline__ void complete_sums(const Gemm& g, const TileRow& row, int64_t column, int32_t (&sums)[8]) {
  if (row.offset != 0) {
#pragma unroll
    for (int c = 0; c < 8; ++c)
      if (column + c < g.n) sums[c] += row.offset * g.w_sums[column + c];
  }
  for (int i = 0; i < row.outliers; ++i) {
    const Outlier outlier = g.a.outliers[row.row * g.a.most_outliers + i];
    const int8_t* weights = g.columns + outlier.column * g.n + column;
    if (g.n % 8 == 0) {
      const uint2 eight = *reinterpret_cast<const uint2*>(weights);
#pragma unroll
      for (int c = 0; c < 8; ++c)
        sums[c] += outlier.value * static_cast<int8_t>((c < 4 ? eight.x : eight.y) >> (8 * (c % 4)) & 0xffu);
    } else {
      for (int c = 0; c < 8; ++c)
        if (column + c < g.n) sums[c] += outlier.value * weights[c];
    }
  }
}
__device__ __forceinline__ void complete_sums(const Gemm&, const TileRow&, int64_t, float (&)[8]) {}

__device__ __forceinline__ void load8(const float* from, int64_t column, int64_t n, float (&to)[8]) {
  if (n % 8 == 0) {
    const float4 low = *reinterpret_cast<const float4*>(from + column);
    const float4 high = *reinterpret_cast<const float4*>(from + column + 4);
    to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
    to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
  } else {
#pragma unroll
    for (int c = 0; c < 8; ++c) to[c] = column + c < n ? from[column + c] : 0.0f;
  }
}

__device__ __forceinline__ uint4 half_words(const float (&v)[8]) {
  return {half_pair(v[0], v[1]), half_pair(v[2], v[3]), half_pair(v[4], v[5]), half_pair(v[6], v[7])};
}
__device__ __forceinline__ uint4 bf16_words(const float (&v)[8]) {
  return {bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7])};
}
// What rounding took away.
__device__ __forceinline__ void subtract_half(const uint4& words, float (&v)[8]) {
  const uint32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int c = 0; c < 8; ++c) v[c] -= half_value(static_cast<uint16_t>(pairs[c / 2] >> (16 * (c % 2))));
}
__device__ __forceinline__ void subtract_bf16(const uint4& words, float (&v)[8]) {
  const uint32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int c = 0; c < 8; ++c) v[c] -= bf16_value(static_cast<uint16_t>(pairs[c / 2] >> (16 * (c % 2))));
}
__device__ __forceinline__ void store_words(uint16_t* to, const uint4& words, int64_t column, int64_t n) {
  if (n % 8 == 0) {
    *reinterpret_cast<uint4*>(to) = words;
  } else {
    const uint32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int c = 0; c < 8; ++c)
      if (column + c < n) to[c] = static_cast<uint16_t>(pairs[c / 2] >> (16 * (c % 2)));
  }
}

// Stores columns column up to column + 7, those below n.
__device__ __forceinline__ void store8(const Gemm& g, int64_t row, int64_t column, float (&v)[8]) {
  const int64_t at = row * g.n + column;
  if (g.format == Format::operand) {
    const int64_t blocks = part_blocks(g.y_form, g.n);
    const int64_t all_blocks = blocks * form_parts(g.y_form);
    const uint4 words = bf16_words(v);
    uint8_t* y = static_cast<uint8_t*>(g.y);
    *reinterpret_cast<uint4*>(y + operand_offset(row, 2 * column, all_blocks)) = words;
    if (g.y_form != Form::split) return;
    subtract_bf16(words, v);
    *reinterpret_cast<uint4*>(y + operand_offset(row, 2 * column + blocks * kRowBytes, all_blocks)) = bf16_words(v);
  } else if (g.format == Format::bf16) {
    store_words(static_cast<uint16_t*>(g.y) + at, bf16_words(v), column, g.n);
  } else if (g.format == Format::f16) {
    const uint4 words = half_words(v);
    store_words(static_cast<uint16_t*>(g.y) + at, words, column, g.n);
    if (!g.y_low) return;
    subtract_half(words, v);
    store_words(g.y_low + at, half_words(v), column, g.n);
  } else {
    float* y = static_cast<float*>(g.y) + at;
    if (g.n % 8 == 0) {
      reinterpret_cast<float4*>(y)[0] = {v[0], v[1], v[2], v[3]};
      reinterpret_cast<float4*>(y)[1] = {v[4], v[5], v[6], v[7]};
    } else {
#pragma unroll
      for (int c = 0; c < 8; ++c)
        if (column + c < g.n) y[c] = v[c];
    }
  }
}

// Sums of a row, columns column up to column + 7, to their place in y.
template <bool kGelu, typename Sum>
__device__ __forceinline__ void finish8(const Gemm& g, const TileRow& row, int64_t column, Sum (&sums)[8]) {
  if (!row.valid) return;
  float v[8];
  if (column >= g.n) {
    // Operands have zeros behind their last column.
    if (g.format != Format::operand || column * 2 >= part_blocks(g.y_form, g.n) * kRowBytes) return;
#pragma unroll
    for (int c = 0; c < 8; ++c) v[c] = 0;
    return store8(g, row.row, column, v);
  }
  complete_sums(g, row, column, sums);
  float more[8];
  if (g.w_scales) {
    load8(g.w_scales, column, g.n, more);
#pragma unroll
    for (int c = 0; c < 8; ++c) v[c] = multiply(multiply(static_cast<float>(sums[c]), row.scale), more[c]);
  } else {
#pragma unroll
    for (int c = 0; c < 8; ++c) v[c] = static_cast<float>(sums[c]);
  }
  if (g.bias) {
    load8(g.bias, column, g.n, more);
#pragma unroll
    for (int c = 0; c < 8; ++c) v[c] = add(v[c], more[c]);
  }
  if (kGelu) {
#pragma unroll
    for (int c = 0; c < 8; ++c) v[c] = kIsInt8<Sum> ? gelu_of_table(v[c]) : gelu(v[c]);
  } else if (g.activation == Activation::tanh) {
    for (int c = 0; c < 8; ++c) v[c] = tanhf(v[c]);
  } else if (g.activation == Activation::relu) {
    for (int c = 0; c < 8; ++c) v[c] = fmaxf(v[c], 0.0f);
  }
  if (g.residual) {
    if (g.n % 8 == 0) {
      load8(g.residual + row.row * g.n, column, g.n, more);
    } else {
      for (int c = 0; c < 8; ++c) more[c] = column + c < g.n ? g.residual[row.row * g.n + column + c] : 0.0f;
    }
#pragma unroll
    for (int c = 0; c < 8; ++c) v[c] = add(v[c], more[c]);
  }
  store8(g, row.row, column, v);
}

}  // namespace whittle::cuda
