#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

// gelu'(x) = cdf(x) + x * exp(-x^2 / 2) / sqrt(2 pi), with the normal distribution's cdf.
template <typename F>
void gelu_backward(const float* x, const float* dy, int64_t count, float* dx) {
  using Register = typename F::Register;
  const auto slope = [](Register value) {
    const Register density = F::exponential(F::multiply(F::multiply(value, value), F::all(-0.5f)));
    return F::multiply_add(F::multiply(value, F::all(0.39894228040143267794f)), density, F::normal_cdf(value));
  };
  for_each_vector<F>(
      count, [&](int64_t i) { F::store(dx + i, F::multiply(F::load(dy + i), slope(F::load(x + i)))); },
      [&](int64_t i, int64_t lanes) {
        F::store_first(dx + i, lanes, F::multiply(F::load_first(dy + i, lanes), slope(F::load_first(x + i, lanes))));
      });
}

}  // namespace whittle::vector
