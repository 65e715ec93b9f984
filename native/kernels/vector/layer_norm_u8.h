#pragma once

#include "kernels/kernel_table.h"
#include "kernels/vector/layer_norm.h"

namespace whittle::vector {

// quantize_row: quantize_row_u8 of the ISA, for one row.
template <typename F, auto quantize_row>
void layer_norm_u8(const float* x, int64_t x_stride, int64_t rows, int64_t cols, const float* gamma, const float* beta,
                   float eps, float* y, int64_t y_stride, int most, uint8_t* q, int64_t q_stride, float* scales,
                   RowOutliers* outliers) {
  for (int64_t begin = 0; begin < rows; begin += kNormRows) {
    const int64_t count = rows - begin < kNormRows ? rows - begin : kNormRows;
    layer_norm<F, true>(x + begin * x_stride, x_stride, count, cols, gamma, beta, eps, y + begin * y_stride, y_stride,
                        nullptr, nullptr);
    for (int64_t r = begin; r < begin + count; ++r) {
      quantize_row(y + r * y_stride, cols, most, q + r * q_stride, scales + r, most > 0 ? outliers + r : nullptr);
    }
  }
}

}  // namespace whittle::vector
