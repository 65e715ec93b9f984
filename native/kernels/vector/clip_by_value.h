#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

template <typename F>
void clip_by_value(float* x, int64_t count, float limit) {
  using Register = typename F::Register;
  const Register highest = F::all(limit), lowest = F::all(-limit);
  // The order of the operands lets what is not a number through.
  const auto cut = [&](Register value) { return F::minimum(highest, F::maximum(lowest, value)); };
  for_each_vector<F>(
      count, [&](int64_t i) { F::store(x + i, cut(F::load(x + i))); },
      [&](int64_t i, int64_t lanes) { F::store_first(x + i, lanes, cut(F::load_first(x + i, lanes))); });
}

}  // namespace whittle::vector
