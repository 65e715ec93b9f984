#pragma once

#include <cmath>

#include "kernels/vector/for_each_vector.h"
#include "kernels/vector/sum_lanes.h"

namespace whittle::vector {

template <typename F>
void layer_norm(const float* x, int64_t x_stride, int64_t rows, int64_t cols, const float* gamma, const float* beta,
                float eps, float* y, int64_t y_stride, float* mean, float* rstd) {
  using Register = typename F::Register;
  const float share = 1 / static_cast<float>(cols);
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * x_stride;
    float* out = y + r * y_stride;
    SumLanes<F, 16> sum, squares;
    for_each_vector<F>(
        cols, [&](int64_t c) { sum.add(c, F::load(in + c)); },
        [&](int64_t c, int64_t lanes) { sum.add(c, F::load_first(in + c, lanes)); });
    const float center = sum.total() * share;
    const Register all_center = F::all(center);
    for_each_vector<F>(
        cols,
        [&](int64_t c) {
          Register d = F::subtract(F::load(in + c), all_center);
          squares.add_square(c, d);
        },
        [&](int64_t c, int64_t lanes) {
          Register d = F::first_of(lanes, F::subtract(F::load_first(in + c, lanes), all_center), F::zero());
          squares.add_square(c, d);
        });
    const float scale = 1 / std::sqrt(squares.total() * share + eps);
    const Register all_scale = F::all(scale);
    for_each_vector<F>(
        cols,
        [&](int64_t c) {
          Register n = F::multiply(F::subtract(F::load(in + c), all_center), all_scale);
          F::store(out + c, F::multiply_add(n, F::load(gamma + c), F::load(beta + c)));
        },
        [&](int64_t c, int64_t lanes) {
          Register n = F::multiply(F::subtract(F::load_first(in + c, lanes), all_center), all_scale);
          F::store_first(out + c, lanes,
                         F::multiply_add(n, F::load_first(gamma + c, lanes), F::load_first(beta + c, lanes)));
        });
    if (mean) mean[r] = center;
    if (rstd) rstd[r] = scale;
  }
}

}  // namespace whittle::vector
