#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/bfloat16.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

void convert_f32_bf16(const float* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    for (int64_t j = 0; j < padded_k(cols); j += 16) {
      int64_t left = cols - j;
      __mmask16 mask = left >= 16 ? 0xffff : left > 0 ? static_cast<__mmask16>((1u << left) - 1) : 0;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + r * y_stride + j),
                          rounded_bf16(_mm512_maskz_loadu_ps(mask, row + j)));
    }
  }
}

}  // namespace

void add_convert_f32_bf16(KernelTable& table) {
  table.convert_f32_bf16 = convert_f32_bf16;
}

}  // namespace whittle::avx512
