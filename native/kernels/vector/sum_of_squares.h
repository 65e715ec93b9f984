#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

// Sums of at most 64 vectors in float32, then in double.
template <typename F>
double sum_of_squares(const float* x, int64_t count) {
  using Register = typename F::Register;
  constexpr int64_t kBlock = 64 * F::width;
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const float* block = x + begin;
    Register even = F::zero(), odd = F::zero();
    for_each_vector<F>(
        count - begin < kBlock ? count - begin : kBlock,
        [&](int64_t i) {
          const Register value = F::load(block + i);
          even = F::multiply_add(value, value, even);
          const Register swapped = even;  // alternate the two chains
          even = odd;
          odd = swapped;
        },
        [&](int64_t i, int64_t lanes) {
          const Register value = F::load_first(block + i, lanes);
          even = F::multiply_add(value, value, even);
        });
    total += F::sum_double(F::add(even, odd));
  }
  return total;
}

}  // namespace whittle::vector
