// The epilogue of products that have none of their own: it decides at run time.
#pragma once

#include "kernels/cuda/gemm_tile.cuh"

namespace whittle::cuda {

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
// 8 columns from `column` on of a row, those below n.
__device__ __forceinline__ void store_words(uint16_t* row, int column, const uint4& words, int64_t n) {
  if (n % 8 == 0) {
    *reinterpret_cast<uint4*>(row + column) = words;
  } else {
    const uint32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int c = 0; c < 8; ++c)
      if (column + c < n) row[column + c] = static_cast<uint16_t>(pairs[c / 2] >> (16 * (c % 2)));
  }
}

// Stores 8 columns of a row, those below n; v is 0 beyond.
__device__ __forceinline__ void store_generally(const Gemm& g, int64_t row, const TileColumns& columns, float (&v)[8]) {
  if (g.format == Format::f32) {
    float* y = static_cast<float*>(g.y) + row * g.n;
#pragma unroll
    for (int c = 0; c < 8; ++c)
      if (columns[c] < g.n) y[columns[c]] = v[c];
    return;
  }
  const int column = columns.first;
  if (g.format == Format::operand) {
    // Operands have zeros behind their last column.
    const int64_t blocks = part_blocks(g.y_form, g.n), all_blocks = blocks * form_parts(g.y_form);
    if (column * 2 >= blocks * kRowBytes) return;
    const uint4 words = bf16_words(v);
    uint8_t* y = static_cast<uint8_t*>(g.y);
    *reinterpret_cast<uint4*>(y + operand_offset(row, 2 * column, all_blocks)) = words;
    if (g.y_form != Form::split) return;
    subtract_bf16(words, v);
    *reinterpret_cast<uint4*>(y + operand_offset(row, 2 * column + blocks * kRowBytes, all_blocks)) = bf16_words(v);
  } else if (column < g.n) {
    const uint4 words = half_words(v);
    store_words(static_cast<uint16_t*>(g.y) + row * g.n, column, words, g.n);
    if (!g.y_low) return;
    subtract_half(words, v);
    store_words(g.y_low + row * g.n, column, half_words(v), g.n);
  }
}

template <bool kGelu, typename Sum>
__device__ __forceinline__ float finish_generally(const Gemm& g, const TileRow& row, int column, Sum sum) {
  if constexpr (kIsInt8<Sum>) {
    if (g.a.offsets) sum += row.offset * g.w_sums[column];
    for (int i = 0; i < row.outliers; ++i) {
      const Outlier outlier = g.a.outliers[row.row * g.a.most_outliers + i];
      sum += outlier.value * g.columns[outlier.column * g.n + column];
    }
  }
  float v = static_cast<float>(sum);
  const float bias = g.bias ? g.bias[column] : -0.0f;  // v + -0 is v
  v = g.w_scales ? multiply_add(multiply(v, row.scale), g.w_scales[column], bias) : add(v, bias);
  if (kGelu) v = kIsInt8<Sum> ? gelu_polynomial(v) : gelu(v);
  if (g.activation == Activation::tanh) v = tanhf(v);
  if (g.activation == Activation::relu) v = fmaxf(v, 0.0f);
  if (!g.residual) return v;
  const int64_t at = row.row * g.n + column;
  const float residual = g.format == Format::f16 ? half_value(static_cast<const uint16_t*>(g.residual)[at])
                                                 : static_cast<const float*>(g.residual)[at];
  if (!g.residual_stats) return add(v, residual);
  return add(v, normalized(residual, row.residual, g.residual_gamma[column], g.residual_beta[column]));
}

}  // namespace whittle::cuda
