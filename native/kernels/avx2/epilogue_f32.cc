#include "kernels/avx2/epilogue.h"

namespace whittle::avx2 {

namespace {

struct Sums {
  const float *row, *bias;
  __m256 whole(int64_t j) const {
    const __m256 sums = _mm256_loadu_ps(row + j);
    return bias ? _mm256_add_ps(sums, _mm256_loadu_ps(bias + j)) : sums;
  }
  __m256 part(int64_t j, __m256i mask) const {
    const __m256 sums = _mm256_maskload_ps(row + j, mask);
    return bias ? _mm256_add_ps(sums, _mm256_maskload_ps(bias + j, mask)) : sums;
  }
};

void epilogue_f32(const float* c, int64_t c_stride, int64_t rows, int64_t cols, const float* bias, Activation act,
                  const float* residual, int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    finish_row(act, cols, residual ? residual + r * residual_stride : nullptr, y + r * y_stride,
               Sums{c + r * c_stride, bias}, [](__m256 x) { return gelu_ps(x); });
  }
}

}  // namespace

void add_epilogue_f32(KernelTable& table) {
  table.epilogue_f32 = epilogue_f32;
}

}  // namespace whittle::avx2
