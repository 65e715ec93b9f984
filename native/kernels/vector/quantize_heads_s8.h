#pragma once

#include "kernels/kernel_table.h"
#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

// One head of one row.
struct HeadOfRow {
  const float* x;
  int8_t* q;
  float* scale;
};

// As many heads of rows together as a vector has lanes, so that their limits and scales are vectors. put(heads, count,
// factors) writes their bytes, x times factor each.
template <typename F, typename Put>
void quantize_heads_s8(const float* x, int64_t x_stride, int64_t rows, int64_t heads, int64_t head_size, int8_t* q,
                       int64_t q_stride, float* scales, int64_t scale_stride, const Put& put) {
  using Register = typename F::Register;
  for (int64_t begin = 0; begin < rows; begin += F::width) {
    const int64_t end = rows - begin < F::width ? rows : begin + F::width;
    for (int64_t head = 0, row = begin; head < heads;) {
      HeadOfRow all[F::width];
      Register limits[F::width];
      int64_t count = 0;
      for (; count < F::width && head < heads; ++count) {
        all[count] = {x + row * x_stride + head * head_size, q + row * q_stride + head * head_size,
                      scales + head * scale_stride + row};
        Register limit = F::zero();
        for_each_vector<F>(
            head_size, [&](int64_t c) { limit = F::larger_magnitude(limit, F::load(all[count].x + c)); },
            [&](int64_t c, int64_t lanes) {
              limit = F::larger_magnitude(limit, F::load_first(all[count].x + c, lanes));
            });
        limits[count] = limit;
        if (++row == end) {
          row = begin;
          ++head;
        }
      }
      for (int64_t i = count; i < F::width; ++i) limits[i] = F::zero();
      const Register limit = F::join_lanes(limits, [](Register a, Register b) { return F::maximum(a, b); });
      float factors[F::width], head_scales[F::width];
      F::store(factors, F::keep_from(limit, 1e-36f, F::divide(F::all(127.0f), limit)));
      F::store(head_scales, F::keep_from(limit, 1e-36f, F::divide(limit, F::all(127.0f))));
      for (int64_t i = 0; i < count; ++i) *all[i].scale = head_scales[i];
      put(all, count, factors);
    }
  }
}

}  // namespace whittle::vector
