#pragma once

#include "kernels/kernel_table.h"
#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

template <typename F>
void dropout(const float* x, int64_t rows, int64_t cols, const float* bias, const KeepMask& keep, const float* residual,
             float* y) {
  using Register = typename F::Register;
  const Register scale = F::all(keep.scale);
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* bits = keep.bits + r * keep.stride;
    const float* in = x + r * cols;
    const float* added = residual ? residual + r * cols : nullptr;
    float* out = y + r * cols;
    for_each_vector<F>(
        cols,
        [&](int64_t c) {
          Register value = F::load(in + c);
          if (bias) value = F::add(value, F::load(bias + c));
          value = F::keep(bits + c / 8, F::multiply(value, scale));
          F::store(out + c, added ? F::add(value, F::load(added + c)) : value);
        },
        [&](int64_t c, int64_t lanes) {
          Register value = F::load_first(in + c, lanes);
          if (bias) value = F::add(value, F::load_first(bias + c, lanes));
          value = F::keep(bits + c / 8, F::multiply(value, scale));
          F::store_first(out + c, lanes, added ? F::add(value, F::load_first(added + c, lanes)) : value);
        });
  }
}

}  // namespace whittle::vector
