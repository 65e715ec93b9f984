#include "kernels/avx2/quantize_row_u8.h"

namespace whittle::avx2 {

namespace {

void quantize_gelu_u8(const float* x, int64_t x_stride, int64_t rows, int64_t cols, uint8_t* q, int64_t q_stride,
                      float* scales, int32_t* offsets) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    uint8_t* out = q + r * q_stride;
    __m256 top = _mm256_setzero_ps();
    int64_t j = 0;
    for (; j + 8 <= cols; j += 8) top = _mm256_max_ps(top, _mm256_loadu_ps(row + j));
    if (j < cols) top = _mm256_max_ps(top, _mm256_maskload_ps(row + j, first_lanes(cols - j)));
    const float range = largest_lane(top) + kGeluLowest, inverse = 254.0f / range;
    const int32_t zero = _mm_cvtss_si32(_mm_set_ss(kGeluLowest * inverse));
    scales[r] = range / 254.0f;
    offsets[r] = 128 - zero;
    const __m256 factor = _mm256_set1_ps(inverse), shift = _mm256_set1_ps(static_cast<float>(zero - 128));
    const __m256i middle = _mm256_set1_epi16(128);
    const auto whole = [&](__m256 values) { return _mm256_cvtps_epi32(_mm256_fmadd_ps(values, factor, shift)); };
    for (j = 0; j < padded_k(cols); j += 32)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + j), bytes_32(row, j, cols, middle, whole));
    for (int64_t c = cols; c < padded_k(cols); ++c) out[c] = 128;
  }
}

}  // namespace

void add_quantize_gelu_u8(KernelTable& table) {
  table.quantize_gelu_u8 = quantize_gelu_u8;
}

}  // namespace whittle::avx2
