#include <cmath>

#include "kernels/kernel_table.h"
#include "kernels/ref/bfloat16.h"

namespace whittle::ref {

namespace {

void epilogue_bf16(const float* c, int64_t c_stride, int64_t rows, int64_t cols, const float* bias, bf16* y,
                   bf16* activated, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < padded_k(cols); ++j) {
      const bf16 rounded = j < cols ? to_bf16(c[r * c_stride + j] + bias[j]) : bf16{0};
      y[r * y_stride + j] = rounded;
      if (!activated) continue;
      const double x = to_f32(rounded);
      activated[r * y_stride + j] = to_bf16(static_cast<float>(0.5 * x * (1 + std::erf(x * std::sqrt(0.5)))));
    }
  }
}

}  // namespace

void add_epilogue_bf16(KernelTable& table) {
  table.epilogue_bf16 = epilogue_bf16;
}

}  // namespace whittle::ref
