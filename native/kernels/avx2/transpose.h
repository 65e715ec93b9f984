// Transposition of 8 rows in registers.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/masks.h"

namespace whittle::avx2 {

namespace {

// t[c] lane r = rows[r] lane c, in place.
inline void transpose_8x8(__m256 (&t)[8]) {
  __m256 s[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    s[i] = _mm256_unpacklo_ps(t[i], t[i + 1]);
    s[i + 1] = _mm256_unpackhi_ps(t[i], t[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    t[i] = _mm256_shuffle_ps(s[i], s[i + 2], _MM_SHUFFLE(1, 0, 1, 0));
    t[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], _MM_SHUFFLE(3, 2, 3, 2));
    t[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], _MM_SHUFFLE(1, 0, 1, 0));
    t[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], _MM_SHUFFLE(3, 2, 3, 2));
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    s[c] = _mm256_permute2f128_ps(t[c], t[c + 4], 0x20);
    s[c + 4] = _mm256_permute2f128_ps(t[c], t[c + 4], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) t[i] = s[i];
}

// Lane i of the result: all lanes of x[i] joined by op, which takes two vectors.
template <typename Op>
inline __m256 join_lanes(const __m256 (&x)[8], const Op& op) {
  __m256 halves[4], pairs[2];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    halves[i] = op(_mm256_permute2f128_ps(x[i], x[i + 4], 0x20), _mm256_permute2f128_ps(x[i], x[i + 4], 0x31));
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m256 a = halves[2 * i], b = halves[2 * i + 1];
    pairs[i] = op(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
  }
  return op(_mm256_shuffle_ps(pairs[0], pairs[1], 0x88), _mm256_shuffle_ps(pairs[0], pairs[1], 0xdd));
}

// Columns c .. c + 7 of 8 rows of x as t[column] with a lane a row; rows from `rows` on (may be negative) and columns
// from `columns` on are zeros.
inline void load_transposed(const float* x, int64_t x_stride, int64_t rows, int64_t columns, __m256 (&t)[8]) {
  __m256i mask = first_lanes(columns);
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r) {
    t[r] = r < rows ? _mm256_maskload_ps(x + r * x_stride, mask) : _mm256_setzero_ps();
  }
  transpose_8x8(t);
}

}  // namespace

}  // namespace whittle::avx2
