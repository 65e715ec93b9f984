#include "kernels/kernel_table.h"
#include "kernels/ref/bfloat16.h"

namespace whittle::ref {

namespace {

void column_sums_bf16(const bf16* x, int64_t x_stride, int64_t rows, int64_t cols, float* sums) {
  for (int64_t c = 0; c < cols; ++c) {
    double sum = sums[c];
    for (int64_t r = 0; r < rows; ++r) sum += to_f32(x[r * x_stride + c]);
    sums[c] = static_cast<float>(sum);
  }
}

}  // namespace

void add_column_sums_bf16(KernelTable& table) {
  table.column_sums_bf16 = column_sums_bf16;
}

}  // namespace whittle::ref
