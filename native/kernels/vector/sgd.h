#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

template <typename F>
void descend(float* p, const float* g, int64_t count, float learning_rate, float weight_decay, float grad_scale) {
  using Register = typename F::Register;
  const Register rate = F::all(learning_rate), decay = F::all(weight_decay), factor = F::all(grad_scale);
  const auto updated = [&](Register gradient, Register parameter) {
    return F::subtract_product(rate, F::multiply_add(decay, parameter, F::multiply(gradient, factor)), parameter);
  };
  for_each_vector<F>(
      count, [&](int64_t i) { F::store(p + i, updated(F::load(g + i), F::load(p + i))); },
      [&](int64_t i, int64_t lanes) {
        F::store_first(p + i, lanes, updated(F::load_first(g + i, lanes), F::load_first(p + i, lanes)));
      });
}

template <typename F, bool kNesterov>
void descend_with_momentum(float* p, const float* g, float* velocity, int64_t count, float learning_rate,
                           float momentum, float weight_decay, float grad_scale) {
  using Register = typename F::Register;
  const Register rate = F::all(learning_rate), kept = F::all(momentum), decay = F::all(weight_decay),
                 factor = F::all(grad_scale);
  const auto update = [&](Register gradient, Register& parameter, Register& speed) {
    const Register change = F::multiply_add(decay, parameter, F::multiply(gradient, factor));
    speed = F::multiply_add(kept, speed, change);
    parameter = F::subtract_product(rate, kNesterov ? F::multiply_add(kept, speed, change) : speed, parameter);
  };
  for_each_vector<F>(
      count,
      [&](int64_t i) {
        Register parameter = F::load(p + i), speed = F::load(velocity + i);
        update(F::load(g + i), parameter, speed);
        F::store(p + i, parameter);
        F::store(velocity + i, speed);
      },
      [&](int64_t i, int64_t lanes) {
        Register parameter = F::load_first(p + i, lanes), speed = F::load_first(velocity + i, lanes);
        update(F::load_first(g + i, lanes), parameter, speed);
        F::store_first(p + i, lanes, parameter);
        F::store_first(velocity + i, lanes, speed);
      });
}

template <typename F>
void sgd(float* p, const float* g, float* velocity, int64_t count, float learning_rate, float momentum, bool nesterov,
         float weight_decay, float grad_scale) {
  if (!velocity) {
    descend<F>(p, g, count, learning_rate, weight_decay, grad_scale);
  } else if (nesterov) {
    descend_with_momentum<F, true>(p, g, velocity, count, learning_rate, momentum, weight_decay, grad_scale);
  } else {
    descend_with_momentum<F, false>(p, g, velocity, count, learning_rate, momentum, weight_decay, grad_scale);
  }
}

}  // namespace whittle::vector
