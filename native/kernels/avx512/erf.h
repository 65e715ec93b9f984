// The normal distribution (that is, the error function), GELU and tanh of 16 floats. Coefficients:
// scripts/fit_polynomials.py.
#pragma once

#include <immintrin.h>

#include "kernels/avx512/exp.h"
#include "kernels/normal_tail.h"

namespace whittle::avx512 {

namespace {

// The standard normal distribution function (1 + erf(x / sqrt 2)) / 2: gelu(x) = x * it. Absolute error below 7e-8;
// relative error below 8e-6 down to x = -5.
inline __m512 normal_cdf_ps(__m512 x) {
  const __m512 pieces = _mm512_set1_ps(kNormalTailPieces), round = _mm512_set1_ps(kRoundingShift);
  __m512 z = _mm512_min_ps(_mm512_abs_ps(x), _mm512_set1_ps(kNormalTailEnd));
  __m512 rounded = _mm512_fmadd_ps(z, pieces, round);
  __m512 t = _mm512_fmsub_ps(z, pieces, _mm512_sub_ps(rounded, round));
  __m512i piece = _mm512_castps_si512(rounded);
  auto coefficient = [&](int power) {
    return _mm512_permutex2var_ps(_mm512_load_ps(kNormalTail[power]), piece, _mm512_load_ps(kNormalTail[power] + 16));
  };
  __m512 tail = coefficient(4);
  tail = _mm512_fmadd_ps(tail, t, coefficient(3));
  tail = _mm512_fmadd_ps(tail, t, coefficient(2));
  tail = _mm512_fmadd_ps(tail, t, coefficient(1));
  tail = _mm512_fmadd_ps(tail, t, coefficient(0));
  __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ);
  return _mm512_mask_sub_ps(tail, positive, _mm512_set1_ps(1.0f), tail);
}

inline __m512 gelu_ps(__m512 x) {
  return _mm512_mul_ps(x, normal_cdf_ps(x));
}

// tanh(x), absolute error below 2e-7.
inline __m512 tanh_ps(__m512 x) {
  __m512 one = _mm512_set1_ps(1.0f);
  __m512 e = exp_ps(_mm512_mul_ps(_mm512_set1_ps(-2.0f), _mm512_abs_ps(x)));
  __m512 magnitude = _mm512_div_ps(_mm512_sub_ps(one, e), _mm512_add_ps(one, e));
  return _mm512_or_ps(magnitude, _mm512_and_ps(x, _mm512_set1_ps(-0.0f)));
}

}  // namespace

}  // namespace whittle::avx512
