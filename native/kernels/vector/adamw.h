#pragma once

#include <cmath>

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

template <typename F>
void adamw(float* p, const float* g, float* m, float* v, int64_t count, float learning_rate, float beta1, float beta2,
           float eps, float weight_decay, float gradient_decay, float grad_scale, float correction1,
           float correction2) {
  using Register = typename F::Register;
  const Register keep1 = F::all(beta1), keep2 = F::all(beta2), take1 = F::all(1 - beta1), take2 = F::all(1 - beta2);
  // lr * m_hat / (sqrt(v_hat) + eps) = step * m / (sqrt(v) * scale + eps)
  const Register step = F::all(learning_rate / correction1), scale = F::all(1 / std::sqrt(correction2));
  const Register all_eps = F::all(eps), grad_factor = F::all(grad_scale), decay = F::all(gradient_decay),
                 kept = F::all(1 - learning_rate * weight_decay);
  const auto update = [&](Register gradient, Register& parameter, Register& first, Register& second) {
    gradient = F::multiply_add(decay, parameter, F::multiply(gradient, grad_factor));
    first = F::multiply_add(keep1, first, F::multiply(take1, gradient));
    second = F::multiply_add(keep2, second, F::multiply(F::multiply(take2, gradient), gradient));
    const Register denominator = F::multiply_add(F::square_root(second), scale, all_eps);
    parameter = F::multiply(parameter, kept);
    parameter = F::subtract_product(step, F::divide(first, denominator), parameter);
  };
  for_each_vector<F>(
      count,
      [&](int64_t i) {
        Register parameter = F::load(p + i), first = F::load(m + i), second = F::load(v + i);
        update(g ? F::load(g + i) : F::all(0), parameter, first, second);
        F::store(p + i, parameter);
        F::store(m + i, first);
        F::store(v + i, second);
      },
      [&](int64_t i, int64_t lanes) {
        Register parameter = F::load_first(p + i, lanes), first = F::load_first(m + i, lanes),
                 second = F::load_first(v + i, lanes);
        update(g ? F::load_first(g + i, lanes) : F::all(0), parameter, first, second);
        F::store_first(p + i, lanes, parameter);
        F::store_first(m + i, lanes, first);
        F::store_first(v + i, lanes, second);
      });
}

}  // namespace whittle::vector
