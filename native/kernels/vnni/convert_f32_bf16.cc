#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::vnni {

namespace {

void convert_f32_bf16(const float* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    bf16* out = y + r * y_stride;
    for (int64_t j = 0; j < padded_k(cols); j += 16) {
      int64_t left = cols - j;
      __mmask16 mask = left >= 16 ? 0xffff : left > 0 ? static_cast<__mmask16>((1u << left) - 1) : 0;
      __m256i rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, row + j));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + j), rounded);
    }
  }
}

}  // namespace

void add_convert_f32_bf16(KernelTable& table) {
  table.convert_f32_bf16 = convert_f32_bf16;
}

}  // namespace whittle::vnni
