// The end of a product's row: bias, activation, residual.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/erf.h"
#include "kernels/avx2/masks.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

// gelu: which of the two (erf.h, gelu_polynomial.h).
template <Activation act, typename Gelu>
inline __m256 activate(__m256 x, const Gelu& gelu) {
  if constexpr (act == Activation::gelu) return gelu(x);
  if constexpr (act == Activation::tanh) return tanh_ps(x);
  return x;
}

// y = act(product) + residual for one row. `product`, the bias in it, gives columns of the row: whole(j) columns
// j .. j + 7, part(j, mask) those of them that the mask has.
template <Activation act, typename Product, typename Gelu>
inline void finish_row(int64_t cols, const float* residual, float* y, const Product& product, const Gelu& gelu) {
  int64_t j = 0;
#pragma GCC unroll 2
  for (; j + 8 <= cols; j += 8) {
    __m256 x = product.whole(j);
    x = activate<act>(x, gelu);
    if (residual) x = _mm256_add_ps(x, _mm256_loadu_ps(residual + j));
    _mm256_storeu_ps(y + j, x);
  }
  if (j == cols) return;
  const __m256i mask = first_lanes(cols - j);
  __m256 x = product.part(j, mask);
  x = activate<act>(x, gelu);
  if (residual) x = _mm256_add_ps(x, _mm256_maskload_ps(residual + j, mask));
  _mm256_maskstore_ps(y + j, mask, x);
}

// finish_row with the activation chosen at run time.
template <typename Product, typename Gelu>
inline void finish_row(Activation act, int64_t cols, const float* residual, float* y, const Product& product,
                       const Gelu& gelu) {
  if (act == Activation::gelu) {
    finish_row<Activation::gelu>(cols, residual, y, product, gelu);
  } else if (act == Activation::tanh) {
    finish_row<Activation::tanh>(cols, residual, y, product, gelu);
  } else {
    finish_row<Activation::none>(cols, residual, y, product, gelu);
  }
}

}  // namespace

}  // namespace whittle::avx2
