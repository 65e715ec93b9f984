// Rounding to bf16 without AVX-512 BF16.
#pragma once

#include <immintrin.h>

namespace whittle::avx512 {

namespace {

// 16 floats rounded to nearest, ties to even; a NaN stays a NaN.
inline __m256i rounded_bf16(__m512 x) {
  __m512i bits = _mm512_castps_si512(x), upper = _mm512_srli_epi32(bits, 16);
  __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(_mm512_srli_epi32(rounded, 16), nan, upper, _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(rounded);
}

}  // namespace

}  // namespace whittle::avx512
