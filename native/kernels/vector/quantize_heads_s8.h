#pragma once

#include "kernels/kernel_table.h"
#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

// The same head of several rows, or several heads of one row: `count` of them, so many elements apart.
struct HeadsS8 {
  const float* x;
  int64_t x_step;
  int8_t* q;
  int64_t q_step;
  int64_t count;
};

// As many heads together as a vector has lanes, so that their limits, scales and factors are vectors. put(heads,
// factors) writes their bytes, x times factor each.
template <typename F, typename Put>
void quantize_heads_s8(const float* x, int64_t x_stride, int64_t rows, int64_t heads, int64_t head_size, int8_t* q,
                       int64_t q_stride, float* scales, int64_t scale_stride, const Put& put) {
  using Register = typename F::Register;
  const auto quantize = [&](const HeadsS8& some, float* to, int64_t to_step) {
    Register limits[F::width];
    for (int64_t i = 0; i < some.count; ++i) {
      const float* from = some.x + i * some.x_step;
      Register limit = F::zero();
      for_each_vector<F>(
          head_size, [&](int64_t c) { limit = F::larger_magnitude(limit, F::load(from + c)); },
          [&](int64_t c, int64_t lanes) { limit = F::larger_magnitude(limit, F::load_first(from + c, lanes)); });
      limits[i] = limit;
    }
    for (int64_t i = some.count; i < F::width; ++i) limits[i] = limits[0];  // anything
    const Register limit = F::join_lanes(limits, [](Register a, Register b) { return F::maximum(a, b); });
    float factors[F::width], of_heads[F::width];
    F::store(factors, F::keep_from(limit, 1e-36f, F::divide(F::all(127.0f), limit)));
    F::store(of_heads, F::keep_from(limit, 1e-36f, F::divide(limit, F::all(127.0f))));
    if (to_step == 1 && some.count == F::width) {
      F::store(to, F::load(of_heads));
    } else {
      for (int64_t i = 0; i < some.count; ++i) to[i * to_step] = of_heads[i];
    }
    put(some, factors);
  };
  int64_t r = 0;
  for (; r + F::width <= rows; r += F::width) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t column = h * head_size;
      quantize({x + r * x_stride + column, x_stride, q + r * q_stride + column, q_stride, F::width},
               scales + h * scale_stride + r, 1);
    }
  }
  for (; r < rows; ++r) {
    for (int64_t h = 0; h < heads; h += F::width) {
      const int64_t column = h * head_size, count = heads - h < F::width ? heads - h : F::width;
      quantize({x + r * x_stride + column, head_size, q + r * q_stride + column, head_size, count},
               scales + h * scale_stride + r, scale_stride);
    }
  }
}

}  // namespace whittle::vector
