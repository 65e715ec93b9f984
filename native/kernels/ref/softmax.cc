#include <algorithm>
#include <cmath>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void softmax(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * x_stride;
    float* out = y + r * y_stride;
    float highest = *std::max_element(in, in + cols);
    double sum = 0;
    for (int64_t c = 0; c < cols; ++c) sum += std::exp(static_cast<double>(in[c]) - highest);
    for (int64_t c = 0; c < cols; ++c) {
      out[c] = static_cast<float>(std::exp(static_cast<double>(in[c]) - highest) / sum);
    }
  }
}

}  // namespace

void add_softmax(KernelTable& table) {
  table.softmax = softmax;
}

}  // namespace whittle::ref
