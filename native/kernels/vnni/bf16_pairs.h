// 16 pairs of bf16 (in the bits of 16 floats) as operands of native/kernels/vector/small_product.h, whose k then counts
// pairs; sums are float32.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/floats.h"

namespace whittle::vnni {

namespace {

struct Bf16Pairs {
  using Register = __m512;
  static constexpr int64_t width = 16;
  static constexpr int tile_rows = avx512::Floats::tile_rows;

  static Register zero() { return _mm512_setzero_ps(); }
  static Register all(float pair) { return _mm512_set1_ps(pair); }
  static Register load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Register x) { _mm512_storeu_ps(p, x); }
  static Register multiply_add(Register a, Register b, Register c) {
    return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};

// 16 floats rounded to bf16, in the lower halves of 16 uint32.
inline __m512i rounded_to_bf16(__m512 x) {
  return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
}

inline int64_t whole_pairs(int64_t count) {
  return (count + 31) / 32 * 16;
}

// y [rows, whole_pairs(cols)]: columns 2 c and 2 c + 1 of x [rows, cols] as pair c, padded with zeros.
inline void pair_columns(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y) {
  const int64_t pairs = whole_pairs(cols);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < 2 * pairs; c += 16) {
      const int64_t left = cols - c;
      const __mmask16 mask = left >= 16 ? 0xffff : left <= 0 ? 0 : static_cast<__mmask16>((1u << left) - 1);
      const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + r * x_stride + c));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + r * pairs + c / 2), reinterpret_cast<__m256i>(rounded));
    }
  }
}

// y [ceil(rows / 2), cols padded to 16]: rows 2 r and 2 r + 1 of x [rows, cols] as pairs, padded with zeros.
inline void pair_rows(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y) {
  const int64_t padded = (cols + 15) / 16 * 16;
  for (int64_t r = 0; r < rows; r += 2) {
    for (int64_t c = 0; c < padded; c += 16) {
      const __mmask16 mask = cols - c >= 16 ? 0xffff : static_cast<__mmask16>((1u << (cols - c)) - 1);
      const float* upper = x + r * x_stride + c;
      __m512i pairs = rounded_to_bf16(_mm512_maskz_loadu_ps(mask, upper));
      if (r + 1 < rows) {
        const __m512i lower = rounded_to_bf16(_mm512_maskz_loadu_ps(mask, upper + x_stride));
        pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(lower, 16));
      }
      _mm512_storeu_si512(y + r / 2 * padded + c, pairs);
    }
  }
}

}  // namespace

}  // namespace whittle::vnni
