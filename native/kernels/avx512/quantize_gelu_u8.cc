#include "kernels/avx512/quantize_row_u8.h"

namespace whittle::avx512 {

namespace {

float largest(const float* row, int64_t cols) {
  __m512 a = _mm512_setzero_ps(), b = a;
  int64_t j = 0;
  for (; j + 32 <= cols; j += 32) {
    a = _mm512_max_ps(a, _mm512_loadu_ps(row + j));
    b = _mm512_max_ps(b, _mm512_loadu_ps(row + j + 16));
  }
  for (; j < cols; j += 16) {
    const __mmask16 lanes = cols - j >= 16 ? 0xffff : static_cast<__mmask16>((1u << (cols - j)) - 1);
    a = _mm512_max_ps(a, _mm512_maskz_loadu_ps(lanes, row + j));
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

void quantize_gelu_u8(const float* x, int64_t x_stride, int64_t rows, int64_t cols, uint8_t* q, int64_t q_stride,
                      float* scales, int32_t* offsets) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    uint8_t* out = q + r * q_stride;
    const float range = largest(row, cols) + kGeluLowest, inverse = 254.0f / range;
    const int32_t zero = _mm_cvtss_si32(_mm_set_ss(kGeluLowest * inverse));
    scales[r] = range / 254.0f;
    offsets[r] = 128 - zero;
    const __m512 factor = _mm512_set1_ps(inverse);
    const __m512i shift = _mm512_set1_epi16(static_cast<int16_t>(zero));
    const auto pack = [&](int64_t j, auto whole) {
      const __m512i first = _mm512_add_epi16(_mm512_packs_epi32(whole(j), whole(j + 16)), shift);
      const __m512i second = _mm512_add_epi16(_mm512_packs_epi32(whole(j + 32), whole(j + 48)), shift);
      _mm512_storeu_si512(out + j, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(first, second)));
    };
    int64_t j = 0;
    for (; j + 64 <= cols; j += 64)
      pack(j, [&](int64_t c) { return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(row + c), factor)); });
    if (j < cols) {
      pack(j, [&](int64_t c) {
        const int64_t left = cols - c;
        const __mmask16 lanes = left >= 16 ? 0xffff : left > 0 ? static_cast<__mmask16>((1u << left) - 1) : 0;
        return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, row + c), factor));
      });
      for (int64_t c = cols; c < padded_k(cols); ++c) out[c] = 128;
    }
  }
}

}  // namespace

void add_quantize_gelu_u8(KernelTable& table) {
  table.quantize_gelu_u8 = quantize_gelu_u8;
}

}  // namespace whittle::avx512
