#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

template <typename F>
void apply_mask(float* x, const uint8_t* mask, int64_t count) {
  for_each_vector<F>(
      count, [&](int64_t i) { F::store(x + i, F::keep_bytes(mask + i, F::load(x + i))); },
      [&](int64_t i, int64_t lanes) {
        for (int64_t lane = i; lane < i + lanes; ++lane) x[lane] = mask[lane] ? x[lane] : 0;
      });
}

}  // namespace whittle::vector
