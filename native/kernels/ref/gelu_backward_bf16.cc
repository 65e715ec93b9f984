#include <cmath>

#include "kernels/kernel_table.h"
#include "kernels/ref/bfloat16.h"

namespace whittle::ref {

namespace {

void gelu_backward_bf16(const bf16* x, int64_t x_stride, const float* dy, int64_t dy_stride, int64_t rows, int64_t cols,
                        bf16* dx, bf16* activated, float* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < padded_k(cols); ++c) {
      const int64_t at = r * x_stride + c;
      const double value = c < cols ? to_f32(x[at]) : 0;
      const double cdf = 0.5 * (1 + std::erf(value * std::sqrt(0.5)));
      const double density = std::exp(-0.5 * value * value) * 0.39894228040143267794;
      const float gradient = c < cols ? static_cast<float>(dy[r * dy_stride + c] * (cdf + value * density)) : 0;
      if (c < cols) sums[c] += gradient;
      if (activated) activated[at] = to_bf16(static_cast<float>(value * cdf));
      dx[at] = to_bf16(gradient);
    }
  }
}

}  // namespace

void add_gelu_backward_bf16(KernelTable& table) {
  table.gelu_backward_bf16 = gelu_backward_bf16;
}

}  // namespace whittle::ref
