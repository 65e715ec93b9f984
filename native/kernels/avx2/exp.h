// exp of 8 floats. Coefficients: scripts/fit_polynomials.py.
#pragma once

#include <immintrin.h>

namespace whittle::avx2 {

namespace {

// 2^n for 8 integers in [-126, 127], held in floats.
inline __m256 power_of_two(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

// exp(r) for |r| <= ln 2 / 2, where x = n ln 2 + r: ln 2 in two parts, after Cody and Waite (1980); exp(r) = 1 + r +
// r^2 q(r) with q of degree 4 fitted for least relative error (3.3e-9).
inline __m256 exp_of_rest(__m256 x, __m256 n) {
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 q = _mm256_set1_ps(0.0013813143596053123f);
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.008369418792426586f));
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.04166845604777336f));
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.16666515171527863f));
  q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.4999999403953552f));
  return _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(r, r), q, r), _mm256_set1_ps(1.0f));
}

inline __m256 rounded_quotient_by_ln2(__m256 x) {
  return _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// exp(x) with a relative error below 2e-7 where the result is normal; 0 far below, infinity above 88.8; NaN stays NaN.
// 2^n comes in two factors, since n may be below -126.
inline __m256 exp_ps(__m256 x) {
  x = _mm256_min_ps(_mm256_set1_ps(128.0f), _mm256_max_ps(_mm256_set1_ps(-128.0f), x));
  __m256 n = rounded_quotient_by_ln2(x), p = exp_of_rest(x, n);
  __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
  return _mm256_mul_ps(_mm256_mul_ps(p, power_of_two(half)), power_of_two(_mm256_sub_epi32(whole, half)));
}

// The same for x <= 0, in fewer steps: below -87 the result is exp(-87), about 1.6e-38.
inline __m256 exp_of_negative(__m256 x) {
  x = _mm256_max_ps(_mm256_set1_ps(-87.0f), x);
  __m256 n = rounded_quotient_by_ln2(x);
  return _mm256_mul_ps(exp_of_rest(x, n), power_of_two(_mm256_cvtps_epi32(n)));
}

}  // namespace

}  // namespace whittle::avx2
