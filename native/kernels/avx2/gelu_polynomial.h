// GELU of 8 floats in the int8 engine.
#pragma once

#include <immintrin.h>

#include "kernels/gelu_polynomial.h"

namespace whittle::avx2 {

namespace {

inline __m256 gelu_polynomial_ps(__m256 x) {
  const __m256 square = _mm256_mul_ps(x, x);
  __m256 p = _mm256_set1_ps(gelu_coefficient(6));
#pragma GCC unroll 6
  for (int power = 5; power >= 0; --power)
    p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(gelu_coefficient(power)));
  const __m256 even = _mm256_min_ps(_mm256_mul_ps(p, square), _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x));
  return _mm256_mul_ps(_mm256_add_ps(x, even), _mm256_set1_ps(0.5f));
}

}  // namespace

}  // namespace whittle::avx2
