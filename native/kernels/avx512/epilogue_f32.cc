#include "kernels/avx512/epilogue.h"

namespace whittle::avx512 {

namespace {

void epilogue_f32(const float* c, int64_t c_stride, int64_t rows, int64_t cols, const float* bias, Activation act,
                  const float* residual, int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = c + r * c_stride;
    finish_row(act, cols, residual ? residual + r * residual_stride : nullptr, y + r * y_stride,
               [&](int64_t j, __mmask16 mask) {
                 const __m512 sums = _mm512_maskz_loadu_ps(mask, row + j);
                 return bias ? _mm512_add_ps(sums, _mm512_maskz_loadu_ps(mask, bias + j)) : sums;
               },
               [](__m512 x) { return gelu_ps(x); });
  }
}

}  // namespace

void add_epilogue_f32(KernelTable& table) {
  table.epilogue_f32 = epilogue_f32;
}

}  // namespace whittle::avx512
