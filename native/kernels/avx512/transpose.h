// Transposition of 16 rows in registers.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace whittle::avx512 {

namespace {

// t[c] lane r = rows[r] lane c, in place.
inline void transpose_16x16(__m512 (&t)[16]) {
  __m512 s[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    s[i] = _mm512_unpacklo_ps(t[i], t[i + 1]);
    s[i + 1] = _mm512_unpackhi_ps(t[i], t[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    __m512d a = _mm512_castps_pd(s[i]), b = _mm512_castps_pd(s[i + 1]);
    __m512d c = _mm512_castps_pd(s[i + 2]), d = _mm512_castps_pd(s[i + 3]);
    t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  // Now lane group g of t[4 i + c] holds rows 4 i .. 4 i + 3 of column 4 g + c.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    __m512 low = _mm512_shuffle_f32x4(t[c], t[c + 4], 0x88), high = _mm512_shuffle_f32x4(t[c], t[c + 4], 0xdd);
    __m512 low2 = _mm512_shuffle_f32x4(t[c + 8], t[c + 12], 0x88),
           high2 = _mm512_shuffle_f32x4(t[c + 8], t[c + 12], 0xdd);
    s[c] = _mm512_shuffle_f32x4(low, low2, 0x88);
    s[c + 8] = _mm512_shuffle_f32x4(low, low2, 0xdd);
    s[c + 4] = _mm512_shuffle_f32x4(high, high2, 0x88);
    s[c + 12] = _mm512_shuffle_f32x4(high, high2, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) t[i] = s[i];
}

// Lane i of the result: all lanes of x[i] joined by op, which takes two vectors.
template <typename Op>
inline __m512 join_lanes(const __m512 (&x)[16], const Op& op) {
  // Halves of the vectors i and i + 4, then quarters of four, then lanes within them: the order comes out right.
  const auto halves = [&](int i) {
    return op(_mm512_shuffle_f32x4(x[i], x[i + 4], 0x44), _mm512_shuffle_f32x4(x[i], x[i + 4], 0xee));
  };
  __m512 quarters[4], pairs[2];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 a = halves(i), b = halves(i + 8);
    quarters[i] = op(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m512 a = quarters[2 * i], b = quarters[2 * i + 1];
    pairs[i] = op(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
  }
  return op(_mm512_shuffle_ps(pairs[0], pairs[1], 0x88), _mm512_shuffle_ps(pairs[0], pairs[1], 0xdd));
}

// y[c * y_stride + r] = x[r * x_stride + c] for c < cols and all of r < 16; rows from `rows` on count as zeros (rows
// may be negative). y is 64-byte aligned where y_stride is a multiple of 16.
inline void transpose_16_rows(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y,
                              int64_t y_stride) {
  for (int64_t c = 0; c < cols; c += 16) {
    int64_t wide = cols - c < 16 ? cols - c : 16;
    __mmask16 mask = static_cast<__mmask16>((1u << wide) - 1);
    __m512 t[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) {
      t[r] = r < rows ? _mm512_maskz_loadu_ps(mask, x + r * x_stride + c) : _mm512_setzero_ps();
    }
    transpose_16x16(t);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      if (i < wide) _mm512_storeu_ps(y + (c + i) * y_stride, t[i]);
    }
  }
}

}  // namespace

}  // namespace whittle::avx512
