#include <cmath>
#include <numbers>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void gelu(const float* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) {
    double value = x[i];
    y[i] = static_cast<float>(0.5 * value * (1 + std::erf(value / std::numbers::sqrt2)));
  }
}

}  // namespace

void add_gelu(KernelTable& table) {
  table.gelu = gelu;
}

}  // namespace whittle::ref
