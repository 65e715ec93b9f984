#include <cstdint>

#include "kernels/kernel_table.h"
#include "kernels/ref/bfloat16.h"

namespace whittle::ref {

namespace {

void convert_f32_bf16(const float* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) y[r * y_stride + c] = to_bf16(x[r * x_stride + c]);
    for (int64_t c = cols; c < padded_k(cols); ++c) y[r * y_stride + c] = 0;
  }
}

}  // namespace

void add_convert_f32_bf16(KernelTable& table) {
  table.convert_f32_bf16 = convert_f32_bf16;
}

}  // namespace whittle::ref
