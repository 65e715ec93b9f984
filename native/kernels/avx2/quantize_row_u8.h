// One row of activations as bytes; see KernelTable::quantize_rows_u8.
#pragma once

#include "kernels/avx2/find_outliers.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

inline float largest_lane(__m256 x) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
}

inline float largest_magnitude(const float* row, int64_t cols) {
  __m256 a = _mm256_setzero_ps(), b = a;
  int64_t j = 0;
  for (; j + 16 <= cols; j += 16) {
    a = _mm256_max_ps(a, magnitudes(row + j, 8));
    b = _mm256_max_ps(b, magnitudes(row + j + 8, 8));
  }
  for (; j < cols; j += 8) a = _mm256_max_ps(a, magnitudes(row + j, cols - j));
  return largest_lane(_mm256_max_ps(a, b));
}

// Columns [j, j + 32) of a row, a vector at a time as `whole` makes integers of it, plus `zero`, as bytes that saturate;
// columns from `cols` on count as zeros.
template <typename Whole>
inline __m256i bytes_32(const float* row, int64_t j, int64_t cols, __m256i zero, const Whole& whole) {
  // The packs below work on 128-bit halves; this puts their groups of four back into order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const auto eight = [&](int64_t c) {
    return whole(c + 8 <= cols ? _mm256_loadu_ps(row + c)
                 : c < cols    ? _mm256_maskload_ps(row + c, first_lanes(cols - c))
                               : _mm256_setzero_ps());
  };
  const __m256i first = _mm256_adds_epi16(_mm256_packs_epi32(eight(j), eight(j + 8)), zero),
                second = _mm256_adds_epi16(_mm256_packs_epi32(eight(j + 16), eight(j + 24)), zero);
  return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), order);
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
  const __m256 factor = _mm256_set1_ps(inverse);
  const __m256i zero = _mm256_set1_epi16(128);
  const auto whole = [&](__m256 values) { return _mm256_cvtps_epi32(_mm256_mul_ps(values, factor)); };
  for (int64_t j = 0; j < padded_k(cols); j += 32)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + j), bytes_32(x, j, cols, zero, whole));
  for (int i = 0; i < count; ++i) {
    const int32_t column = outliers->columns[i];
    const int32_t value = _mm_cvtss_si32(_mm_set_ss(x[column] * inverse));
    outliers->values[i] = value - (int32_t{q[column]} - 128);
  }
}

}  // namespace

}  // namespace whittle::avx2
