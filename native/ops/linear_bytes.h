// Int8 linear layers over activations that are bytes already, on the calling thread: what the engine's layers are made
// of.
#pragma once

#include <cstdint>

#include "cpu/arena.h"
#include "ops/gemm.h"

namespace whittle {

// Rows of activations as quantize_rows_u8, layer_norm_u8 or quantize_gelu_u8 leave them.
struct ByteRows {
  uint8_t* data = nullptr;  // [rows, k], rows `stride` apart, as the left operand of KernelTable::gemm_s8
  int64_t stride = 0;
  float* scales = nullptr;          // [rows]
  int32_t* offsets = nullptr;       // [rows], of quantize_gelu_u8, or null
  RowOutliers* outliers = nullptr;  // [rows], or null

  // Memory for rows of k columns.
  static ByteRows take(Arena& arena, int64_t rows, int64_t k, bool with_offsets, bool with_outliers);
  ByteRows from(int64_t row) const;
};

// Columns [n_begin, n_end) of W, n_begin a multiple of the product's panel.
struct LinearBytes {
  ByteRows rows;
  int64_t m;
  const PackedWeight* weight;  // [n, k], int8
  const float* bias;           // [n]
  int64_t n_begin, n_end;
};

// Most bytes that one of these takes of the arena.
inline constexpr int64_t kLinearBytesScratch = 128 * 64 * static_cast<int64_t>(sizeof(int32_t));

// y[r, j - n_begin] = activation(x W^T + bias) + residual. residual: laid out as y, with its own stride, or null.
void linear_bytes(const LinearBytes& g, Activation activation, const float* residual, int64_t residual_stride, float* y,
                  int64_t y_stride, const KernelTable& kernels, Arena& arena);

// Heads as attention_bytes reads them: [rows, columns of W], see KernelTable::quantize_heads_s8.
struct HeadRows {
  int8_t* data;
  int64_t stride;
  float* scales;  // [columns / head_size, rows], heads `scale_stride` apart
  int64_t scale_stride;
  int64_t head_size;
  int64_t flipped;  // of these first columns of W the highest bits are flipped, as those of queries

  HeadRows from(int64_t row) const {
    return {data + row * stride, stride, scales + row, scale_stride, head_size, flipped};
  }
};
// Heads of x W^T + bias, at their columns of y; n_begin and n_end are multiples of the head size.
void linear_bytes(const LinearBytes& g, const HeadRows& y, const KernelTable& kernels, Arena& arena);

}  // namespace whittle
