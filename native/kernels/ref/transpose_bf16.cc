#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void transpose_bf16(const bf16* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride) {
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < padded_k(rows); ++r) y[c * y_stride + r] = r < rows ? x[r * x_stride + c] : bf16{0};
  }
}

}  // namespace

void add_transpose_bf16(KernelTable& table) {
  table.transpose_bf16 = transpose_bf16;
}

}  // namespace whittle::ref
