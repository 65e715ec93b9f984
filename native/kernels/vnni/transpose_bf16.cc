#include "kernels/kernel_table.h"
#include "kernels/vnni/bf16_rows.h"

namespace whittle::vnni {

namespace {

// Rows are paired first, so that what is transposed are pairs, and 32 rows of y are written at once.
void transpose_bf16(const bf16* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride) {
  for (int64_t r = 0; r < padded_k(rows); r += 32) {
    for (int64_t c = 0; c < cols; c += 32) {
      __m512 lower[16], upper[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const int64_t row = r + 2 * i;
        const bf16* even = x + row * x_stride + c;
        __m512i first, second;
        interleave_32(load_32(even, row < rows ? cols - c : 0), load_32(even + x_stride, row + 1 < rows ? cols - c : 0),
                      &first, &second);
        lower[i] = (__m512)first;
        upper[i] = (__m512)second;
        // Rows are often pages apart: each is read ahead of its use.
        if (row + 33 < rows) {
          _mm_prefetch(reinterpret_cast<const char*>(even + 32 * x_stride), _MM_HINT_T0);
          _mm_prefetch(reinterpret_cast<const char*>(even + 33 * x_stride), _MM_HINT_T0);
        }
      }
      avx512::transpose_16x16(lower);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        if (c + i < cols) _mm512_storeu_si512(y + (c + i) * y_stride + r, (__m512i)lower[i]);
      }
      avx512::transpose_16x16(upper);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        if (c + 16 + i < cols) _mm512_storeu_si512(y + (c + 16 + i) * y_stride + r, (__m512i)upper[i]);
      }
    }
  }
}

}  // namespace

void add_transpose_bf16(KernelTable& table) {
  table.transpose_bf16 = transpose_bf16;
}

}  // namespace whittle::vnni
