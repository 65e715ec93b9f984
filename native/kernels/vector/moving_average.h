#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

template <typename F>
void moving_average(float* average, const float* x, int64_t count, float share) {
  using Register = typename F::Register;
  const Register factor = F::all(share);
  const auto moved = [&](Register from, Register to) { return F::multiply_add(factor, F::subtract(to, from), from); };
  for_each_vector<F>(
      count, [&](int64_t i) { F::store(average + i, moved(F::load(average + i), F::load(x + i))); },
      [&](int64_t i, int64_t lanes) {
        F::store_first(average + i, lanes, moved(F::load_first(average + i, lanes), F::load_first(x + i, lanes)));
      });
}

}  // namespace whittle::vector
