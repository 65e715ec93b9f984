// The normal distribution (that is, the error function), GELU and tanh of 8 floats. Coefficients:
// scripts/fit_polynomials.py.
#pragma once

#include <immintrin.h>

#include "kernels/avx2/exp.h"
#include "kernels/normal_tail.h"

namespace whittle::avx2 {

namespace {

inline __m256 abs_ps(__m256 x) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

// Element n of a table of 32, for 8 whole numbers n.
struct Lookup {
  __m256i n;                        // the lowest three bits choose within eight
  __m256 second_eight, upper_half;  // masks by bits 3 and 4

  explicit Lookup(__m256i n)
      : n(n),
        second_eight(_mm256_castsi256_ps(_mm256_slli_epi32(n, 28))),
        upper_half(_mm256_castsi256_ps(_mm256_slli_epi32(n, 27))) {}
  __m256 operator()(const float* table) const {
    const auto eight = [&](int part) { return _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8 * part), n); };
    return _mm256_blendv_ps(_mm256_blendv_ps(eight(0), eight(1), second_eight),
                            _mm256_blendv_ps(eight(2), eight(3), second_eight), upper_half);
  }
};

// The standard normal distribution function (1 + erf(x / sqrt 2)) / 2: gelu(x) = x * it. Absolute error below 7e-8;
// relative error below 8e-6 down to x = -5. The same bits as AVX-512's.
inline __m256 normal_cdf_ps(__m256 x) {
  const __m256 pieces = _mm256_set1_ps(kNormalTailPieces), round = _mm256_set1_ps(kRoundingShift);
  const __m256 z = _mm256_min_ps(abs_ps(x), _mm256_set1_ps(kNormalTailEnd));
  const __m256 rounded = _mm256_fmadd_ps(z, pieces, round);
  const __m256 t = _mm256_fmsub_ps(z, pieces, _mm256_sub_ps(rounded, round));
  const Lookup coefficient(_mm256_castps_si256(rounded));
  __m256 tail = coefficient(kNormalTail[4]);
  tail = _mm256_fmadd_ps(tail, t, coefficient(kNormalTail[3]));
  tail = _mm256_fmadd_ps(tail, t, coefficient(kNormalTail[2]));
  tail = _mm256_fmadd_ps(tail, t, coefficient(kNormalTail[1]));
  tail = _mm256_fmadd_ps(tail, t, coefficient(kNormalTail[0]));
  const __m256 positive = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GE_OQ);
  return _mm256_blendv_ps(tail, _mm256_sub_ps(_mm256_set1_ps(1.0f), tail), positive);
}

inline __m256 gelu_ps(__m256 x) {
  return _mm256_mul_ps(x, normal_cdf_ps(x));
}

// tanh(x), absolute error below 2e-7.
inline __m256 tanh_ps(__m256 x) {
  __m256 one = _mm256_set1_ps(1.0f);
  __m256 e = exp_of_negative(_mm256_mul_ps(_mm256_set1_ps(-2.0f), abs_ps(x)));
  __m256 magnitude = _mm256_div_ps(_mm256_sub_ps(one, e), _mm256_add_ps(one, e));
  return _mm256_or_ps(magnitude, _mm256_and_ps(x, _mm256_set1_ps(-0.0f)));
}

}  // namespace

}  // namespace whittle::avx2
