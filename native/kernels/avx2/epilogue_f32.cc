#include "kernels/avx2/epilogue.h"

namespace whittle::avx2 {

namespace {

void epilogue_f32(const float* c, int64_t c_stride, int64_t rows, int64_t cols, const float* bias, Activation act,
                  const float* residual, int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = c + r * c_stride;
    finish_row(act, cols, bias, residual ? residual + r * residual_stride : nullptr, y + r * y_stride,
               [&](int64_t j, __m256i mask) { return _mm256_maskload_ps(row + j, mask); });
  }
}

}  // namespace

void add_epilogue_f32(KernelTable& table) {
  table.epilogue_f32 = epilogue_f32;
}

}  // namespace whittle::avx2
