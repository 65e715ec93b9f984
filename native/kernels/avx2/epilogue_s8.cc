#include "kernels/avx2/epilogue.h"

namespace whittle::avx2 {

namespace {

// One row of int32 sums times its scale and the columns' scales.
struct ScaledSums {
  const int32_t* row;
  const float* column_scales;
  __m256 row_scale;
  __m256 whole(int64_t j) const {
    return scaled(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + j)), _mm256_loadu_ps(column_scales + j));
  }
  __m256 part(int64_t j, __m256i mask) const {
    return scaled(_mm256_maskload_epi32(row + j, mask), _mm256_maskload_ps(column_scales + j, mask));
  }
  __m256 scaled(__m256i sums, __m256 scales) const {
    return _mm256_mul_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), row_scale), scales);
  }
};

void epilogue_s8(const int32_t* c, int64_t c_stride, int64_t rows, int64_t cols, const float* row_scales,
                 const float* column_scales, const float* bias, Activation act, const float* residual,
                 int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    finish_row(act, cols, bias, residual ? residual + r * residual_stride : nullptr, y + r * y_stride,
               ScaledSums{c + r * c_stride, column_scales, _mm256_set1_ps(row_scales[r])});
  }
}

}  // namespace

void add_epilogue_s8(KernelTable& table) {
  table.epilogue_s8 = epilogue_s8;
}

}  // namespace whittle::avx2
