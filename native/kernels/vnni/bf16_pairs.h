// 16 pairs of bf16 (in the bits of 16 floats) as operands of native/kernels/vector/small_product.h, whose k then counts
// pairs; sums are float32.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/floats.h"
#include "kernels/vnni/interleave.h"

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

inline int64_t whole_pairs(int64_t count) {
  return (count + 31) / 32 * 16;
}

// y [rows, whole_pairs(cols)]: columns 2 c and 2 c + 1 of x [rows, cols] as pair c, padded with zeros.
inline void pair_columns(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y) {
  const int64_t pairs = whole_pairs(cols);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < 2 * pairs; c += 16) {
      const __mmask16 mask = first_16_of(cols - c);
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
      const __mmask16 mask = first_16_of(cols - c);
      const float* even = x + r * x_stride + c;
      const __m512 first = _mm512_maskz_loadu_ps(mask, even);
      const __m512 second = r + 1 < rows ? _mm512_maskz_loadu_ps(mask, even + x_stride) : _mm512_setzero_ps();
      _mm512_storeu_si512(y + r / 2 * padded + c, interleave_rounded(first, second));
    }
  }
}

}  // namespace

}  // namespace whittle::vnni
