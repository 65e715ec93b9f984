#pragma once

#include "kernels/kernel_table.h"

namespace whittle::vector {

// See KernelTable::scale_sums_f16.
template <typename F>
void scale_sums_f16(const int32_t* sums, int64_t stride, int64_t rows, int64_t cols, const float* factors, float* y,
                    int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const auto factor = F::all(factors[r]);
    const int32_t* from = sums + r * stride;
    float* to = y + r * y_stride;
    int64_t c = 0;
    for (; c + F::width <= cols; c += F::width)
      F::store(to + c, F::round_to_f16(F::multiply(F::from_int32(from + c), factor)));
    if (c < cols)
      F::store_first(to + c, cols - c,
                     F::round_to_f16(F::multiply(F::from_int32_first(from + c, cols - c), factor)));
  }
}

}  // namespace whittle::vector
