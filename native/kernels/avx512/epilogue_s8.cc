#include "kernels/avx512/epilogue.h"

namespace whittle::avx512 {

namespace {

void epilogue_s8(const int32_t* c, int64_t c_stride, int64_t rows, int64_t cols, const float* row_scales,
                 const float* column_scales, const float* bias, Activation act, const float* residual,
                 int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t* row = c + r * c_stride;
    __m512 row_scale = _mm512_set1_ps(row_scales[r]);
    finish_row(act, cols, bias, residual ? residual + r * residual_stride : nullptr, y + r * y_stride,
               [&](int64_t j, __mmask16 mask) {
                 __m512 product = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask, row + j));
                 return _mm512_mul_ps(_mm512_mul_ps(product, row_scale),
                                      _mm512_maskz_loadu_ps(mask, column_scales + j));
               });
  }
}

}  // namespace

void add_epilogue_s8(KernelTable& table) {
  table.epilogue_s8 = epilogue_s8;
}

}  // namespace whittle::avx512
