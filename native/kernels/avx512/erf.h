// The normal distribution (that is, the error function), GELU and tanh of 16 floats. Coefficients:
// scripts/fit_polynomials.py.
#pragma once

#include <immintrin.h>

#include "kernels/avx512/exp.h"

namespace whittle::avx512 {

namespace {

// The upper tail 1 - Phi(z) of the normal distribution for z >= 0, as 31 polynomials of degree 4: number n covers
// [(n - 1/2) / 5.5, (n + 1/2) / 5.5], its variable is 5.5 z - n. Fitted to each piece for least relative error; beyond
// z = 5.55, where the tail is below 1.5e-8, it is 0. One coefficient a row, lowest first.
alignas(64) constexpr float kNormalTail[5][32] = {
    {0.5f,
     0.427862704f,
     0.358064771f,
     0.292720467f,
     0.233529449f,
     0.181651071f,
     0.13765645f,
     0.101557419f,
     0.0728975683f,
     0.0508817546f,
     0.0345181748f,
     0.0227501318f,
     0.0145614771f,
     0.0090482831f,
     0.00545677869f,
     0.00319301151f,
     0.00181240705f,
     0.000997723429f,
     0.000532575883f,
     0.000275610568f,
     0.000138256903f,
     6.72193783e-05f,
     3.16712176e-05f,
     1.4459345e-05f,
     6.39589871e-06f,
     2.74083663e-06f,
     1.13777514e-06f,
     4.57496498e-07f,
     1.78174801e-07f,
     6.72053204e-08f,
     2.45490028e-08f,
     0.0f},
    {-0.0725349188f,   -0.0713458508f,   -0.0678943321f,   -0.0625088438f,
     -0.0556791537f,   -0.0479829498f,   -0.0400059335f,   -0.0322704539f,
     -0.0251842383f,   -0.0190149732f,   -0.0138901109f,   -0.00981654786f,
     -0.00671204645f,  -0.00444011437f,  -0.00284168776f,  -0.00175954984f,
     -0.00105407077f,  -0.000610915129f, -0.000342558604f, -0.000185836834f,
     -9.75374787e-05f, -4.95283748e-05f, -2.43320883e-05f, -1.15650482e-05f,
     -5.31812066e-06f, -2.36598271e-06f, -1.01837463e-06f, -4.24078365e-07f,
     -1.70854804e-07f, -6.65964066e-08f, -2.51140531e-08f, 0.0f},
    {8.96897845e-09f, 0.00117927766f,  0.00224444503f,  0.00309961219f,
     0.00368126156f,  0.00396552309f,  0.00396751706f,  0.00373375579f,
     0.00333013223f,  0.00282866089f,  0.00229587685f,  0.00178482186f,
     0.00133131375f,  0.000954076066f, 0.000657584693f, 0.000436257105f,
     0.000278767722f, 0.000171666834f, 0.000101922189f, 5.83649999e-05f,
     3.22459746e-05f, 1.71931515e-05f, 8.84898964e-06f, 4.39721725e-06f,
     2.11001111e-06f, 9.77870627e-07f, 4.37751027e-07f, 1.89310512e-07f,
     7.90989887e-08f, 3.19343272e-08f, 1.24587061e-08f, 0.0f},
    {0.000399023207f,  0.000379527279f,  0.000324180117f,  0.000241703208f,
     0.000144496007f,  4.60555348e-05f,  -4.15886825e-05f, -0.000109830908f,
     -0.00015443773f,  -0.000175445777f, -0.000176227768f, -0.000162117547f,
     -0.00013900522f,  -0.000112216687f, -8.58372077e-05f, -6.24813911e-05f,
     -4.34117246e-05f, -2.88550109e-05f, -1.8379611e-05f,  -1.12339403e-05f,
     -6.59584839e-06f, -3.72328873e-06f, -2.02212982e-06f, -1.05724359e-06f,
     -5.32405068e-07f, -2.58342368e-07f, -1.2083558e-07f,  -5.44976544e-08f,
     -2.37063773e-08f, -9.94862148e-09f, -4.02869693e-09f, 0.0f},
    {-3.58750292e-08f, -9.65358595e-06f, -1.77232705e-05f, -2.30461028e-05f,
     -2.5013831e-05f,  -2.36872147e-05f, -1.97223162e-05f, -1.41413984e-05f,
     -8.0683285e-06f,  -2.48130004e-06f, 1.94980976e-06f,  4.91962237e-06f,
     6.44870215e-06f,  6.78499237e-06f,  6.2857971e-06f,   5.31615888e-06f,
     4.17925503e-06f,  3.08599897e-06f,  2.1546125e-06f,   1.42881879e-06f,
     9.02858403e-07f,  5.4492557e-07f,   3.14722428e-07f,  1.74188116e-07f,
     9.2493984e-08f,   4.71654715e-08f,  2.31149038e-08f,  1.08944187e-08f,
     4.94087438e-09f,  2.15724993e-09f,  9.07141307e-10f,  0.0f},
};

// The standard normal distribution function (1 + erf(x / sqrt 2)) / 2: gelu(x) = x * it. Absolute error below 7e-8;
// relative error below 8e-6 down to x = -5.
inline __m512 normal_cdf_ps(__m512 x) {
  // 2^23 + v is v rounded to a whole number, which then lies in the lowest bits.
  const __m512 pieces = _mm512_set1_ps(5.5f), round = _mm512_set1_ps(8388608.0f);
  __m512 z = _mm512_min_ps(_mm512_abs_ps(x), _mm512_set1_ps(31.0f / 5.5f));
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
