#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/bfloat16.h"
#include "kernels/avx512/transpose.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

// Calls store(c, r, values, mask) with lanes r .. r + 15 of column c of x, for all columns and every 16 rows up to
// `padded_rows`; rows beyond `rows` are zeros. Rows of x are often pages apart, so each is read once, ahead of its use.
template <typename Store>
void for_each_column(const float* x, int64_t x_stride, int64_t rows, int64_t padded_rows, int64_t cols, Store store) {
  for (int64_t r = 0; r < padded_rows; r += 16) {
    int64_t high = rows - r < 16 ? rows - r : 16;
    __mmask16 mask = high >= 16 ? 0xffff : high > 0 ? static_cast<__mmask16>((1u << high) - 1) : 0;
    for (int64_t i = r + 16; i < r + 32 && i < rows; ++i) {
      for (int64_t c = 0; c < cols; c += 16)
        _mm_prefetch(reinterpret_cast<const char*>(x + i * x_stride + c), _MM_HINT_T0);
    }
    for (int64_t c = 0; c < cols; c += 16) {
      int64_t wide = cols - c < 16 ? cols - c : 16;
      __mmask16 columns = static_cast<__mmask16>((1u << wide) - 1);
      __m512 t[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        t[i] = i < high ? _mm512_maskz_loadu_ps(columns, x + (r + i) * x_stride + c) : _mm512_setzero_ps();
      }
      transpose_16x16(t);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        if (i < wide) store(c + i, r, t[i], mask);
      }
    }
  }
}

void transpose_f32(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride) {
  for_each_column(x, x_stride, rows, rows, cols, [&](int64_t c, int64_t r, __m512 values, __mmask16 mask) {
    _mm512_mask_storeu_ps(y + c * y_stride + r, mask, values);
  });
}

void transpose_f32_bf16(const float* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride) {
  for_each_column(x, x_stride, rows, padded_k(rows), cols, [&](int64_t c, int64_t r, __m512 values, __mmask16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + c * y_stride + r), rounded_bf16(values));
  });
}

}  // namespace

void add_transpose_f32(KernelTable& table) {
  table.transpose_f32 = transpose_f32;
  table.transpose_f32_bf16 = transpose_f32_bf16;
}

}  // namespace whittle::avx512
