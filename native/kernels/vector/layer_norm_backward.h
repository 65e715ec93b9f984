#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

// With n = (x - mean) * rstd and g = dy * gamma: dx = rstd * (g - average(g) - n * average(g * n)).
template <typename F>
void layer_norm_backward(const float* dy, const float* x, const float* gamma, const float* mean, const float* rstd,
                         int64_t rows, int64_t cols, float* dx, float* dgamma, float* dbeta) {
  using Register = typename F::Register;
  const float share = 1 / static_cast<float>(cols);
  for (int64_t r = 0; r < rows; ++r) {
    const float* grad = dy + r * cols;
    const float* in = x + r * cols;
    float* out = dx + r * cols;
    const Register center = F::all(mean[r]), scale = F::all(rstd[r]);
    Register sum_g = F::zero(), sum_gn = F::zero();
    const auto accumulate = [&](Register value, Register gradient, Register weight) {
      const Register n = F::multiply(F::subtract(value, center), scale), g = F::multiply(gradient, weight);
      sum_g = F::add(sum_g, g);
      sum_gn = F::multiply_add(g, n, sum_gn);
    };
    for_each_vector<F>(
        cols, [&](int64_t c) { accumulate(F::load(in + c), F::load(grad + c), F::load(gamma + c)); },
        [&](int64_t c, int64_t lanes) {  // lanes beyond have gradient 0
          accumulate(F::load_first(in + c, lanes), F::load_first(grad + c, lanes), F::load_first(gamma + c, lanes));
        });
    const Register mean_g = F::all(F::sum(sum_g) * share), mean_gn = F::all(F::sum(sum_gn) * share);
    for_each_vector<F>(
        cols,
        [&](int64_t c) {
          const Register gradient = F::load(grad + c);
          const Register n = F::multiply(F::subtract(F::load(in + c), center), scale);
          F::store(dgamma + c, F::multiply_add(gradient, n, F::load(dgamma + c)));
          F::store(dbeta + c, F::add(gradient, F::load(dbeta + c)));
          const Register rest = F::subtract(F::multiply(gradient, F::load(gamma + c)), mean_g);
          F::store(out + c, F::multiply(scale, F::subtract_product(n, mean_gn, rest)));
        },
        [&](int64_t c, int64_t lanes) {
          const Register gradient = F::load_first(grad + c, lanes);
          const Register n = F::multiply(F::subtract(F::load_first(in + c, lanes), center), scale);
          F::store_first(dgamma + c, lanes, F::multiply_add(gradient, n, F::load_first(dgamma + c, lanes)));
          F::store_first(dbeta + c, lanes, F::add(gradient, F::load_first(dbeta + c, lanes)));
          const Register rest = F::subtract(F::multiply(gradient, F::load_first(gamma + c, lanes)), mean_g);
          F::store_first(out + c, lanes, F::multiply(scale, F::subtract_product(n, mean_gn, rest)));
        });
  }
}

}  // namespace whittle::vector
