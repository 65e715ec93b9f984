#include <cstdint>

#include "kernels/kernel_table.h"
#include "kernels/ref/bfloat16.h"

namespace whittle::ref {

namespace {

void transpose_f32(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride) {
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) y[c * y_stride + r] = x[r * x_stride + c];
  }
}

void transpose_f32_bf16(const float* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride) {
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) y[c * y_stride + r] = to_bf16(x[r * x_stride + c]);
    for (int64_t r = rows; r < padded_k(rows); ++r) y[c * y_stride + r] = 0;
  }
}

}  // namespace

void add_transpose_f32(KernelTable& table) {
  table.transpose_f32 = transpose_f32;
  table.transpose_f32_bf16 = transpose_f32_bf16;
}

}  // namespace whittle::ref
