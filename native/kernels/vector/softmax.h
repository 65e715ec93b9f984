#pragma once

#include <limits>

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

template <typename F>
void softmax(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride) {
  using Register = typename F::Register;
  const Register lowest = F::all(-std::numeric_limits<float>::infinity());
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * x_stride;
    float* out = y + r * y_stride;
    Register highest = lowest, sum = F::zero();
    for_each_vector<F>(
        cols, [&](int64_t c) { highest = F::maximum(highest, F::load(in + c)); },
        [&](int64_t c, int64_t lanes) {
          highest = F::maximum(highest, F::first_of(lanes, F::load_first(in + c, lanes), lowest));
        });
    highest = F::all(F::largest(highest));
    for_each_vector<F>(
        cols,
        [&](int64_t c) {
          const Register e = F::exponential(F::subtract(F::load(in + c), highest));
          sum = F::add(sum, e);
          F::store(out + c, e);
        },
        [&](int64_t c, int64_t lanes) {
          const Register e = F::exponential(F::subtract(F::load_first(in + c, lanes), highest));
          sum = F::add(sum, F::first_of(lanes, e, F::zero()));
          F::store_first(out + c, lanes, e);
        });
    const Register scale = F::all(1 / F::sum(sum));
    for_each_vector<F>(
        cols, [&](int64_t c) { F::store(out + c, F::multiply(F::load(out + c), scale)); },
        [&](int64_t c, int64_t lanes) {
          F::store_first(out + c, lanes, F::multiply(F::load_first(out + c, lanes), scale));
        });
  }
}

}  // namespace whittle::vector
