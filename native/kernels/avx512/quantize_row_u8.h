// One row of activations as bytes; see KernelTable::quantize_rows_u8.
#pragma once

#include "kernels/avx512/find_outliers.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

inline float largest_magnitude(const float* row, int64_t cols) {
  __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
  int64_t j = 0;
  for (; j + 64 <= cols; j += 64) {
    a = _mm512_max_ps(a, magnitudes(row + j, 16));
    b = _mm512_max_ps(b, magnitudes(row + j + 16, 16));
    c = _mm512_max_ps(c, magnitudes(row + j + 32, 16));
    d = _mm512_max_ps(d, magnitudes(row + j + 48, 16));
  }
  for (; j < cols; j += 16) a = _mm512_max_ps(a, magnitudes(row + j, cols - j));
  return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d)));
}

// q[c] = zero + x[c], which `whole` makes integers of, 16 at a time, kept within int8 before `zero` is added; columns from
// `cols` to padded_k(cols) count as zeros. zero: 64 bytes.
template <typename Whole>
inline void round_row_u8(const float* x, int64_t cols, __m512i zero, uint8_t* q, const Whole& whole) {
  // The packs below work on quarters of a register; this puts their groups of four bytes back into order.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto pack = [&](int64_t j, auto load) {
    const auto of = [&](int64_t c) { return whole(load(c)); };
    const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(of(j), of(j + 16)),
                                             _mm512_packs_epi32(of(j + 32), of(j + 48)));
    _mm512_storeu_si512(q + j, _mm512_add_epi8(_mm512_permutexvar_epi32(order, bytes), zero));
  };
  int64_t j = 0;
  for (; j + 64 <= cols; j += 64) pack(j, [&](int64_t c) { return _mm512_loadu_ps(x + c); });
  if (j < cols) {
    pack(j, [&](int64_t c) {
      const int64_t left = cols - c;
      const __mmask16 lanes = left >= 16 ? 0xffff : left > 0 ? static_cast<__mmask16>((1u << left) - 1) : 0;
      return _mm512_maskz_loadu_ps(lanes, x + c);
    });
  }
}

inline void quantize_row_u8(const float* x, int64_t cols, int most, uint8_t* q, float* scale, RowOutliers* outliers) {
  float limit;
  int count = 0;
  if (most > 0) {
    count = find_outliers(x, cols, most, &limit, outliers->columns);
    outliers->count = count;
  } else {
    limit = largest_magnitude(x, cols);
  }
  const bool zeros = limit < 1e-36f;
  const float inverse = zeros ? 0.0f : 127.0f / limit;
  *scale = zeros ? 0.0f : limit / 127.0f;
  const __m512 factor = _mm512_set1_ps(inverse);
  round_row_u8(x, cols, _mm512_set1_epi8(static_cast<char>(128)), q,
               [&](__m512 values) { return _mm512_cvtps_epi32(_mm512_mul_ps(values, factor)); });
  for (int i = 0; i < count; ++i) {
    const int32_t column = outliers->columns[i];
    const int32_t value = _mm_cvtss_si32(_mm_set_ss(x[column] * inverse));
    outliers->values[i] = value - (int32_t{q[column]} - 128);
  }
}

}  // namespace

}  // namespace whittle::avx512
