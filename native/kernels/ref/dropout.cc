#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void dropout(const float* x, int64_t rows, int64_t cols, const float* bias, const KeepMask& keep, const float* residual,
             float* y) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      bool kept = keep.bits[r * keep.stride + c / 8] >> (c % 8) & 1;
      float value = x[r * cols + c] + (bias ? bias[c] : 0);
      y[r * cols + c] = (kept ? value * keep.scale : 0) + (residual ? residual[r * cols + c] : 0);
    }
  }
}

}  // namespace

void add_dropout(KernelTable& table) {
  table.dropout = dropout;
}

}  // namespace whittle::ref
