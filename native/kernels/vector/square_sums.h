#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

// kRows rows together: the columns' sums are read and written once for all of them.
template <typename F, int kRows>
void add_squares(const float* x, int64_t x_stride, int64_t cols, float scale, float* row_sums, float* column_sums) {
  using Register = typename F::Register;
  const Register factor = F::all(scale);
  Register sums[kRows];
  for (Register& sum : sums) sum = F::zero();
  const auto add = [&](int row, Register value, Register column) {
    value = F::multiply(value, factor);
    sums[row] = F::multiply_add(value, value, sums[row]);
    return F::multiply_add(value, value, column);
  };
  for_each_vector<F>(
      cols,
      [&](int64_t c) {
        Register column = F::load(column_sums + c);
        for (int row = 0; row < kRows; ++row) column = add(row, F::load(x + row * x_stride + c), column);
        F::store(column_sums + c, column);
      },
      [&](int64_t c, int64_t lanes) {
        Register column = F::load_first(column_sums + c, lanes);
        for (int row = 0; row < kRows; ++row) column = add(row, F::load_first(x + row * x_stride + c, lanes), column);
        F::store_first(column_sums + c, lanes, column);
      });
  for (int row = 0; row < kRows; ++row) row_sums[row] += F::sum(sums[row]);
}

template <typename F>
void square_sums(const float* x, int64_t rows, int64_t cols, float scale, float* row_sums, float* column_sums) {
  constexpr int64_t kBlock = 64 * F::width;  // bounds the chains of additions, and stays in the first-level cache
  for (int64_t c = 0; c < cols; c += kBlock) {
    const int64_t width = cols - c < kBlock ? cols - c : kBlock;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
      add_squares<F, 4>(x + r * cols + c, cols, width, scale, row_sums + r, column_sums + c);
    for (; r < rows; ++r) add_squares<F, 1>(x + r * cols + c, cols, width, scale, row_sums + r, column_sums + c);
  }
}

}  // namespace whittle::vector
