#pragma once

#include "kernels/vector/for_each_vector.h"

namespace whittle::vector {

// The direction of a vector of elements; see kernel_table.h.
template <typename F>
struct AdafactorDirection {
  using Register = typename F::Register;
  Register grad_factor, most;

  AdafactorDirection(float grad_scale, float limit) : grad_factor(F::all(grad_scale)), most(F::all(limit)) {}
  Register operator()(Register gradient, Register row_factor, Register column_factor) const {
    // In this order infinity times the 0 of an absent lane gives the limit.
    const Register factor = F::minimum(F::multiply(row_factor, column_factor), most);
    return F::multiply(F::multiply(gradient, grad_factor), factor);
  }
};

template <typename F, int kRows>
double sum_of_squared_directions(const float* g, int64_t g_stride, int64_t cols, const float* row_factors,
                                 const float* column_factors, const AdafactorDirection<F>& direction) {
  using Register = typename F::Register;
  Register sums[kRows], factors[kRows];
  for (int row = 0; row < kRows; ++row) {
    sums[row] = F::zero();
    factors[row] = F::all(row_factors[row]);
  }
  const auto add = [&](int row, Register gradient, Register column_factor) {
    const Register value = direction(gradient, factors[row], column_factor);
    sums[row] = F::multiply_add(value, value, sums[row]);
  };
  for_each_vector<F>(
      cols,
      [&](int64_t c) {
        const Register column_factor = F::load(column_factors + c);
        for (int row = 0; row < kRows; ++row) add(row, F::load(g + row * g_stride + c), column_factor);
      },
      [&](int64_t c, int64_t lanes) {
        const Register column_factor = F::load_first(column_factors + c, lanes);
        for (int row = 0; row < kRows; ++row) add(row, F::load_first(g + row * g_stride + c, lanes), column_factor);
      });
  double total = 0;
  for (const Register& sum : sums) total += F::sum_double(sum);
  return total;
}

// Sums of at most 64 vectors in float32, then in double.
template <typename F>
double adafactor_squares(const float* g, int64_t rows, int64_t cols, float grad_scale, const float* row_factors,
                         const float* column_factors, float limit) {
  constexpr int64_t kBlock = 64 * F::width;
  const AdafactorDirection<F> direction(grad_scale, limit);
  double total = 0;
  for (int64_t c = 0; c < cols; c += kBlock) {
    const int64_t width = cols - c < kBlock ? cols - c : kBlock;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
      total += sum_of_squared_directions<F, 4>(g + r * cols + c, cols, width, row_factors + r, column_factors + c,
                                               direction);
    }
    for (; r < rows; ++r) {
      total += sum_of_squared_directions<F, 1>(g + r * cols + c, cols, width, row_factors + r, column_factors + c,
                                               direction);
    }
  }
  return total;
}

template <typename F>
void adafactor(float* p, const float* g, int64_t rows, int64_t cols, float grad_scale, const float* row_factors,
               const float* column_factors, float limit, float step, float decay) {
  using Register = typename F::Register;
  const AdafactorDirection<F> direction(grad_scale, limit);
  const Register all_steps = F::all(step), all_decays = F::all(decay);
  for (int64_t r = 0; r < rows; ++r, p += cols, g += cols) {
    const Register row_factor = F::all(row_factors[r]);
    const auto updated = [&](Register parameter, Register gradient, Register column_factor) {
      const Register change = F::multiply(all_steps, direction(gradient, row_factor, column_factor));
      // Not parameter * (1 - decay): decay may be less than what float32 can take off 1.
      return F::subtract(parameter, F::multiply_add(all_decays, parameter, change));
    };
    for_each_vector<F>(
        cols, [&](int64_t c) { F::store(p + c, updated(F::load(p + c), F::load(g + c), F::load(column_factors + c))); },
        [&](int64_t c, int64_t lanes) {
          F::store_first(p + c, lanes,
                         updated(F::load_first(p + c, lanes), F::load_first(g + c, lanes),
                                 F::load_first(column_factors + c, lanes)));
        });
  }
}

}  // namespace whittle::vector
