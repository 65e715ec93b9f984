#include <cmath>
#include <numbers>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

// gelu'(x) = (1 + erf(x / sqrt 2)) / 2 + x * exp(-x^2 / 2) / sqrt(2 pi).
void gelu_backward(const float* x, const float* dy, int64_t count, float* dx) {
  const double density = std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  for (int64_t i = 0; i < count; ++i) {
    double value = x[i];
    double slope = 0.5 * (1 + std::erf(value / std::numbers::sqrt2)) + value * density * std::exp(-0.5 * value * value);
    dx[i] = static_cast<float>(dy[i] * slope);
  }
}

}  // namespace

void add_gelu_backward(KernelTable& table) {
  table.gelu_backward = gelu_backward;
}

}  // namespace whittle::ref
