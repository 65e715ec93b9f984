#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

template <typename F>
void gelu(const float* x, int64_t count, float* y) {
  for_each_vector<F>(
      count,
      [&](int64_t i) {
        const typename F::Register value = F::load(x + i);
        F::store(y + i, F::multiply(value, F::normal_cdf(value)));
      },
      [&](int64_t i, int64_t lanes) {
        const typename F::Register value = F::load_first(x + i, lanes);
        F::store_first(y + i, lanes, F::multiply(value, F::normal_cdf(value)));
      });
}

}  // namespace whittle::vector
