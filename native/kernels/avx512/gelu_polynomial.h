// GELU of 16 floats in the int8 engine.
#pragma once

#include <immintrin.h>

#include "kernels/gelu_polynomial.h"

namespace whittle::avx512 {

namespace {

inline __m512 gelu_polynomial_ps(__m512 x) {
  const __m512 square = _mm512_mul_ps(x, x);
  __m512 p = _mm512_set1_ps(gelu_coefficient(6));
#pragma GCC unroll 6
  for (int power = 5; power >= 0; --power)
    p = _mm512_fmadd_ps(p, square, _mm512_set1_ps(gelu_coefficient(power)));
  const __m512 even = _mm512_min_ps(_mm512_mul_ps(p, square), _mm512_abs_ps(x));
  return _mm512_mul_ps(_mm512_add_ps(x, even), _mm512_set1_ps(0.5f));
}

}  // namespace

}  // namespace whittle::avx512
