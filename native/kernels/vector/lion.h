#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

template <typename F>
void lion(float* p, const float* g, float* m, int64_t count, float learning_rate, float beta1, float beta2,
          float weight_decay, float grad_scale) {
  using Register = typename F::Register;
  const Register keep1 = F::all(beta1), keep2 = F::all(beta2), take1 = F::all(1 - beta1), take2 = F::all(1 - beta2);
  const Register rate = F::all(learning_rate), decay = F::all(learning_rate * weight_decay),
                 factor = F::all(grad_scale);
  const auto update = [&](Register gradient, Register& parameter, Register& momentum) {
    gradient = F::multiply(gradient, factor);
    const Register direction = F::multiply_add(keep1, momentum, F::multiply(take1, gradient));
    // Not parameter * (1 - decay): decay may be less than what float32 can take off 1.
    parameter = F::subtract(parameter, F::multiply_add(decay, parameter, F::signed_by(direction, rate)));
    momentum = F::multiply_add(keep2, momentum, F::multiply(take2, gradient));
  };
  for_each_vector<F>(
      count,
      [&](int64_t i) {
        Register parameter = F::load(p + i), momentum = F::load(m + i);
        update(F::load(g + i), parameter, momentum);
        F::store(p + i, parameter);
        F::store(m + i, momentum);
      },
      [&](int64_t i, int64_t lanes) {
        Register parameter = F::load_first(p + i, lanes), momentum = F::load_first(m + i, lanes);
        update(F::load_first(g + i, lanes), parameter, momentum);
        F::store_first(p + i, lanes, parameter);
        F::store_first(m + i, lanes, momentum);
      });
}

}  // namespace whittle::vector
