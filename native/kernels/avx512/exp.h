// exp of 16 floats. Coefficients: scripts/fit_polynomials.py.
#pragma once

#include <immintrin.h>

namespace whittle::avx512 {

namespace {

// exp(x) with a relative error below 2e-7 where the result is normal; 0 far below, infinity above 88.8; NaN stays NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2 (ln 2 in two parts, after Cody and Waite 1980); exp(r) = 1 + r + r^2 q(r) with q
// of degree 4 fitted for least relative error (3.3e-9); scalef multiplies by 2^n.
inline __m512 exp_ps(__m512 x) {
  x = _mm512_min_ps(_mm512_set1_ps(128.0f), _mm512_max_ps(_mm512_set1_ps(-128.0f), x));
  __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)),
                                  _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 q = _mm512_set1_ps(0.0013813143596053123f);
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0.008369418792426586f));
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0.04166845604777336f));
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0.16666515171527863f));
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0.4999999403953552f));
  __m512 p = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(r, r), q, r), _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

}  // namespace

}  // namespace whittle::avx512
