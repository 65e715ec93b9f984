#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

template <typename F>
void column_sums(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* sums) {
  using Register = typename F::Register;
  constexpr int kVectors = 4;  // columns that go down the rows together: whole cache lines
  int64_t c = 0;
  for (; c + kVectors * F::width <= cols; c += kVectors * F::width) {
    Register sum[kVectors];
    for (int v = 0; v < kVectors; ++v) sum[v] = F::load(sums + c + v * F::width);
    for (int64_t r = 0; r < rows; ++r) {
      for (int v = 0; v < kVectors; ++v) sum[v] = F::add(sum[v], F::load(x + r * x_stride + c + v * F::width));
    }
    for (int v = 0; v < kVectors; ++v) F::store(sums + c + v * F::width, sum[v]);
  }
  for (; c < cols; c += F::width) {
    const int64_t lanes = cols - c < F::width ? cols - c : F::width;
    Register sum = F::load_first(sums + c, lanes);
    for (int64_t r = 0; r < rows; ++r) sum = F::add(sum, F::load_first(x + r * x_stride + c, lanes));
    F::store_first(sums + c, lanes, sum);
  }
}

}  // namespace whittle::vector
