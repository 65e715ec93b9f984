#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/transpose.h"
#include "kernels/kernel_table.h"
#include "kernels/vnni/interleave.h"

namespace whittle::vnni {

namespace {

// Rows are rounded and paired first, so that what is transposed are pairs, and 32 rows of y are written at once.
void transpose_f32_bf16(const float* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride) {
  for (int64_t r = 0; r < padded_k(rows); r += 32) {
    for (int64_t i = r + 32; i < r + 64 && i < rows;
         ++i) {  // rows are often pages apart: each is read ahead of its use
      for (int64_t c = 0; c < cols; c += 16) {
        _mm_prefetch(reinterpret_cast<const char*>(x + i * x_stride + c), _MM_HINT_T0);
      }
    }
    for (int64_t c = 0; c < cols; c += 16) {
      const __mmask16 mask = first_16_of(cols - c);
      __m512 pairs[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const int64_t row = r + 2 * i;
        const float* even = x + row * x_stride + c;
        const __m512 first = row < rows ? _mm512_maskz_loadu_ps(mask, even) : _mm512_setzero_ps();
        const __m512 second = row + 1 < rows ? _mm512_maskz_loadu_ps(mask, even + x_stride) : _mm512_setzero_ps();
        pairs[i] = (__m512)interleave_rounded(first, second);
      }
      avx512::transpose_16x16(pairs);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        if (c + i < cols) _mm512_storeu_si512(y + (c + i) * y_stride + r, (__m512i)pairs[i]);
      }
    }
  }
}

}  // namespace

void add_transpose_f32_bf16(KernelTable& table) {
  table.transpose_f32_bf16 = transpose_f32_bf16;
}

}  // namespace whittle::vnni
