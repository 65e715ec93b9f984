#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/masks.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

float largest_magnitude(const float* row, int64_t cols) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 a = _mm256_setzero_ps(), b = a;
  int64_t j = 0;
  for (; j + 16 <= cols; j += 16) {
    a = _mm256_max_ps(a, _mm256_andnot_ps(sign, _mm256_loadu_ps(row + j)));
    b = _mm256_max_ps(b, _mm256_andnot_ps(sign, _mm256_loadu_ps(row + j + 8)));
  }
  for (; j < cols; j += 8) {
    a = _mm256_max_ps(a, _mm256_andnot_ps(sign, _mm256_maskload_ps(row + j, first_lanes(cols - j))));
  }
  a = _mm256_max_ps(a, b);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
}

void quantize_rows_s8(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int8_t* q, int64_t q_stride,
                      float* scales) {
  // The packs below work on 128-bit halves; this puts their groups of four back into order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    int8_t* out = q + r * q_stride;
    float largest = largest_magnitude(row, cols);
    bool zeros = largest < 1e-36f;
    scales[r] = zeros ? 0.0f : largest / 127.0f;
    __m256 inverse = _mm256_set1_ps(zeros ? 0.0f : 127.0f / largest);
    auto whole = [&](int64_t j) {
      __m256 values = j + 8 <= cols ? _mm256_loadu_ps(row + j)
                      : j < cols    ? _mm256_maskload_ps(row + j, first_lanes(cols - j))
                                    : _mm256_setzero_ps();
      return _mm256_cvtps_epi32(_mm256_mul_ps(values, inverse));
    };
    for (int64_t j = 0; j < padded_k(cols); j += 32) {
      __m256i first = _mm256_packs_epi32(whole(j), whole(j + 8)),
              second = _mm256_packs_epi32(whole(j + 16), whole(j + 24));
      __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(first, second), order);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + j), bytes);
    }
  }
}

}  // namespace

void add_quantize_rows_s8(KernelTable& table) {
  table.quantize_rows_s8 = quantize_rows_s8;
}

}  // namespace whittle::avx2
