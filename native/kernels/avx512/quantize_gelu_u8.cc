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
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    uint8_t* out = q + r * q_stride;
    const float range = largest(row, cols) + kGeluLowest, inverse = 254.0f / range;
    const int32_t zero = _mm_cvtss_si32(_mm_set_ss(kGeluLowest * inverse));
    scales[r] = range / 254.0f;
    offsets[r] = 128 - zero;
    const __m512 factor = _mm512_set1_ps(inverse), shift = _mm512_set1_ps(static_cast<float>(zero - 128));
    round_row_u8(row, cols, _mm512_set1_epi8(static_cast<char>(128)), out,
                 [&](__m512 values) { return _mm512_cvtps_epi32(_mm512_fmadd_ps(values, factor, shift)); });
    for (int64_t c = cols; c < padded_k(cols); ++c) out[c] = 128;
  }
}

}  // namespace

void add_quantize_gelu_u8(KernelTable& table) {
  table.quantize_gelu_u8 = quantize_gelu_u8;
}

}  // namespace whittle::avx512
