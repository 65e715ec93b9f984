#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/transpose.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

void transpose_f32(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride) {
  for (int64_t c = 0; c < cols; c += 8) {
    for (int64_t r = 0; r < rows; r += 8) {
      __m256 t[8];
      load_transposed(x + r * x_stride + c, x_stride, rows - r, cols - c, t);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        float* to = y + (c + i) * y_stride + r;
        if (c + i >= cols) continue;
        if (r + 8 <= rows) {
          _mm256_storeu_ps(to, t[i]);
        } else {
          _mm256_maskstore_ps(to, first_lanes(rows - r), t[i]);
        }
      }
    }
  }
}

}  // namespace

void add_transpose_f32(KernelTable& table) {
  table.transpose_f32 = transpose_f32;
}

}  // namespace whittle::avx2
