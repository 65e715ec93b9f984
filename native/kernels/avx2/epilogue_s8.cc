#include "kernels/avx2/epilogue.h"

namespace whittle::avx2 {

namespace {

void epilogue_s8(const int32_t* c, int64_t c_stride, int64_t rows, int64_t cols, const float* row_scales,
                 const float* column_scales, const float* bias, Activation act, const float* residual,
                 int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t* row = c + r * c_stride;
    __m256 row_scale = _mm256_set1_ps(row_scales[r]);
    finish_row(act, cols, bias, residual ? residual + r * residual_stride : nullptr, y + r * y_stride,
               [&](int64_t j, __m256i mask) {
                 __m256 product = _mm256_cvtepi32_ps(_mm256_maskload_epi32(row + j, mask));
                 return _mm256_mul_ps(_mm256_mul_ps(product, row_scale), _mm256_maskload_ps(column_scales + j, mask));
               });
  }
}

}  // namespace

void add_epilogue_s8(KernelTable& table) {
  table.epilogue_s8 = epilogue_s8;
}

}  // namespace whittle::avx2
