#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

__mmask16 first(int64_t columns) {
  return columns >= 16 ? 0xffff : columns > 0 ? static_cast<__mmask16>((1u << columns) - 1) : 0;
}

float largest_magnitude(const float* row, int64_t cols) {
  __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
  int64_t j = 0;
  for (; j + 64 <= cols; j += 64) {
    a = _mm512_max_ps(a, _mm512_abs_ps(_mm512_loadu_ps(row + j)));
    b = _mm512_max_ps(b, _mm512_abs_ps(_mm512_loadu_ps(row + j + 16)));
    c = _mm512_max_ps(c, _mm512_abs_ps(_mm512_loadu_ps(row + j + 32)));
    d = _mm512_max_ps(d, _mm512_abs_ps(_mm512_loadu_ps(row + j + 48)));
  }
  for (; j < cols; j += 16) a = _mm512_max_ps(a, _mm512_abs_ps(_mm512_maskz_loadu_ps(first(cols - j), row + j)));
  return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d)));
}

void quantize_rows_s8(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int8_t* q, int64_t q_stride,
                      float* scales) {
  // The packs below work on quarters of a register; this puts their groups of four bytes back into order.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    int8_t* out = q + r * q_stride;
    float largest = largest_magnitude(row, cols);
    bool zeros = largest < 1e-36f;
    scales[r] = zeros ? 0.0f : largest / 127.0f;
    __m512 inverse = _mm512_set1_ps(zeros ? 0.0f : 127.0f / largest);
    auto whole = [&](int64_t j) { return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(row + j), inverse)); };
    int64_t j = 0;
    for (; j + 64 <= cols; j += 64) {
      __m512i first_half = _mm512_packs_epi32(whole(j), whole(j + 16));
      __m512i second_half = _mm512_packs_epi32(whole(j + 32), whole(j + 48));
      __m512i bytes = _mm512_packs_epi16(first_half, second_half);
      _mm512_storeu_si512(out + j, _mm512_permutexvar_epi32(order, bytes));
    }
    for (; j < padded_k(cols); j += 16) {
      __m512 values = _mm512_maskz_loadu_ps(first(cols - j), row + j);
      __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(values, inverse));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + j), _mm512_cvtepi32_epi8(whole));
    }
  }
}

}  // namespace

void add_quantize_rows_s8(KernelTable& table) {
  table.quantize_rows_s8 = quantize_rows_s8;
}

}  // namespace whittle::avx512
