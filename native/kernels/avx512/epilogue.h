// The end of a product's row: bias, activation, residual.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/erf.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

// gelu: which of the two (erf.h, gelu_polynomial.h).
template <Activation act, typename Gelu>
inline __m512 activate(__m512 x, Gelu gelu) {
  if constexpr (act == Activation::gelu) return gelu(x);
  if constexpr (act == Activation::tanh) return tanh_ps(x);
  return x;
}

// y = act(value(j, mask)) + residual for columns [j, j + 16) of one row, as far as the mask goes. `value` has the bias.
template <Activation act, typename Value, typename Gelu>
inline void finish_columns(int64_t j, __mmask16 mask, const float* residual, float* y, Value value, Gelu gelu) {
  __m512 x = value(j, mask);
  x = activate<act>(x, gelu);
  if (residual) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, residual + j));
  _mm512_mask_storeu_ps(y + j, mask, x);
}

// One whole row; value gives columns j .. j + 15 of the product.
template <Activation act, typename Value, typename Gelu>
inline void finish_row(int64_t cols, const float* residual, float* y, Value value, Gelu gelu) {
  int64_t j = 0;
  for (; j + 32 <= cols; j += 32) {  // two at once: one's arithmetic fills the other's waiting
    finish_columns<act>(j, 0xffff, residual, y, value, gelu);
    finish_columns<act>(j + 16, 0xffff, residual, y, value, gelu);
  }
  for (; j < cols; j += 16) {
    __mmask16 mask = cols - j >= 16 ? 0xffff : static_cast<__mmask16>((1u << (cols - j)) - 1);
    finish_columns<act>(j, mask, residual, y, value, gelu);
  }
}

// finish_row with the activation chosen at run time.
template <typename Value, typename Gelu>
inline void finish_row(Activation act, int64_t cols, const float* residual, float* y, Value value, Gelu gelu) {
  if (act == Activation::gelu) {
    finish_row<Activation::gelu>(cols, residual, y, value, gelu);
  } else if (act == Activation::tanh) {
    finish_row<Activation::tanh>(cols, residual, y, value, gelu);
  } else {
    finish_row<Activation::none>(cols, residual, y, value, gelu);
  }
}

}  // namespace

}  // namespace whittle::avx512
