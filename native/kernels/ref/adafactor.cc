#include <algorithm>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

double direction(float g, float grad_scale, float row_factor, float column_factor, float limit) {
  const double factor = std::min<double>(limit, static_cast<double>(row_factor) * column_factor);
  return static_cast<double>(g) * grad_scale * factor;
}

double adafactor_squares(const float* g, int64_t rows, int64_t cols, float grad_scale, const float* row_factors,
                         const float* column_factors, float limit) {
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const double d = direction(g[r * cols + c], grad_scale, row_factors[r], column_factors[c], limit);
      sum += d * d;
    }
  }
  return sum;
}

void adafactor(float* p, const float* g, int64_t rows, int64_t cols, float grad_scale, const float* row_factors,
               const float* column_factors, float limit, float step, float decay) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const int64_t at = r * cols + c;
      const double d = direction(g[at], grad_scale, row_factors[r], column_factors[c], limit);
      p[at] = static_cast<float>(p[at] - (step * d + static_cast<double>(decay) * p[at]));
    }
  }
}

}  // namespace

void add_adafactor(KernelTable& table) {
  table.adafactor_squares = adafactor_squares;
  table.adafactor = adafactor;
}

}  // namespace whittle::ref
