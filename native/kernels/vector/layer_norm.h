#pragma once

#include <cmath>

#include "kernels/vector/for_each_vector.h"
#include "kernels/vector/sum_lanes.h"

namespace whittle::vector {

// Rows whose sums are taken side by side: one row's additions alone wait for each other.
inline constexpr int kNormRows = 4;

// kRows rows; see layer_norm. kRounds: of rows rounded to float16's values, which lie in y meanwhile.
template <typename F, int kRows, bool kRounds>
void normalize_rows(const float* x, int64_t x_stride, int64_t cols, const float* gamma, const float* beta, float eps,
                    float* y, int64_t y_stride, float* mean, float* rstd) {
  using Register = typename F::Register;
  const float share = 1 / static_cast<float>(cols);
  const auto for_each_row = [](const auto& body) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) body(r);
  };
  SumLanes<F, 16> sums[kRows], squares[kRows];
  for_each_vector<F>(
      cols,
      [&](int64_t c) {
        for_each_row([&](int r) {
          Register value = F::load(x + r * x_stride + c);
          if constexpr (kRounds) F::store(y + r * y_stride + c, value = F::round_to_f16(value));
          sums[r].add(c, value);
        });
      },
      [&](int64_t c, int64_t lanes) {
        for_each_row([&](int r) {
          Register value = F::load_first(x + r * x_stride + c, lanes);
          if constexpr (kRounds) F::store_first(y + r * y_stride + c, lanes, value = F::round_to_f16(value));
          sums[r].add(c, value);
        });
      });
  if constexpr (kRounds) x = y, x_stride = y_stride;
  Register centers[kRows], scales[kRows];
  for_each_row([&](int r) {
    const float center = sums[r].total() * share;
    if (mean) mean[r] = center;
    centers[r] = F::all(center);
  });
  for_each_vector<F>(
      cols,
      [&](int64_t c) {
        for_each_row([&](int r) { squares[r].add_square(c, F::subtract(F::load(x + r * x_stride + c), centers[r])); });
      },
      [&](int64_t c, int64_t lanes) {
        for_each_row([&](int r) {
          const Register d = F::subtract(F::load_first(x + r * x_stride + c, lanes), centers[r]);
          squares[r].add_square(c, F::first_of(lanes, d, F::zero()));
        });
      });
  for_each_row([&](int r) {
    const float scale = 1 / std::sqrt(squares[r].total() * share + eps);
    if (rstd) rstd[r] = scale;
    scales[r] = F::all(scale);
  });
  for_each_vector<F>(
      cols,
      [&](int64_t c) {
        const Register factor = F::load(gamma + c), shift = F::load(beta + c);
        for_each_row([&](int r) {
          const Register n = F::multiply(F::subtract(F::load(x + r * x_stride + c), centers[r]), scales[r]);
          F::store(y + r * y_stride + c, F::multiply_add(n, factor, shift));
        });
      },
      [&](int64_t c, int64_t lanes) {
        const Register factor = F::load_first(gamma + c, lanes), shift = F::load_first(beta + c, lanes);
        for_each_row([&](int r) {
          const Register n =
              F::multiply(F::subtract(F::load_first(x + r * x_stride + c, lanes), centers[r]), scales[r]);
          F::store_first(y + r * y_stride + c, lanes, F::multiply_add(n, factor, shift));
        });
      });
}

template <typename F, bool kRounds = false>
void layer_norm(const float* x, int64_t x_stride, int64_t rows, int64_t cols, const float* gamma, const float* beta,
                float eps, float* y, int64_t y_stride, float* mean, float* rstd) {
  for (int64_t r = 0; r < rows;) {
    const bool several = rows - r >= kNormRows;
    const auto normalize = several ? normalize_rows<F, kNormRows, kRounds> : normalize_rows<F, 1, kRounds>;
    normalize(x + r * x_stride, x_stride, cols, gamma, beta, eps, y + r * y_stride, y_stride, mean ? mean + r : nullptr,
              rstd ? rstd + r : nullptr);
    r += several ? kNormRows : 1;
  }
}

}  // namespace whittle::vector
