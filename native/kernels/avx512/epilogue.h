// The end of a product's row: bias, activation, residual.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/erf.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

template <Activation act>
inline __m512 activate(__m512 x) {
  if constexpr (act == Activation::gelu) return gelu_ps(x);
  if constexpr (act == Activation::tanh) return tanh_ps(x);
  return x;
}

// y = act(value(j, mask)) + residual for columns [j, j + 16) of one row, as far as the mask goes. The bias is in `value`.
template <Activation act, typename Value>
inline void finish_columns(int64_t j, __mmask16 mask, const float* residual, float* y, Value value) {
  __m512 x = value(j, mask);
  x = activate<act>(x);
  if (residual) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, residual + j));
  _mm512_mask_storeu_ps(y + j, mask, x);
}

// One whole row; value gives columns j .. j + 15 of the product.
template <Activation act, typename Value>
inline void finish_row(int64_t cols, const float* residual, float* y, Value value) {
  int64_t j = 0;
  for (; j + 32 <= cols; j += 32) {  // two at once: one's arithmetic fills the other's waiting
    finish_columns<act>(j, 0xffff, residual, y, value);
    finish_columns<act>(j + 16, 0xffff, residual, y, value);
  }
  for (; j < cols; j += 16) {
    __mmask16 mask = cols - j >= 16 ? 0xffff : static_cast<__mmask16>((1u << (cols - j)) - 1);
    finish_columns<act>(j, mask, residual, y, value);
  }
}

// finish_row with the activation chosen at run time.
template <typename Value>
inline void finish_row(Activation act, int64_t cols, const float* residual, float* y, Value value) {
  if (act == Activation::gelu) {
    finish_row<Activation::gelu>(cols, residual, y, value);
  } else if (act == Activation::tanh) {
    finish_row<Activation::tanh>(cols, residual, y, value);
  } else {
    finish_row<Activation::none>(cols, residual, y, value);
  }
}

}  // namespace

}  // namespace whittle::avx512
