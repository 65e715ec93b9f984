#include <cstdint>

#include "kernels/kernel_table.h"
#include "kernels/ref/activation.h"

namespace whittle::ref {

namespace {

void epilogue_s8(const int32_t* c, int64_t c_stride, int64_t rows, int64_t cols, const float* row_scales,
                 const float* column_scales, const float* bias, Activation act, const float* residual,
                 int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < cols; ++j) {
      float value = static_cast<float>(c[r * c_stride + j]) * row_scales[r] * column_scales[j];
      if (bias) value += bias[j];
      value = activate(value, act);
      if (residual) value += residual[r * residual_stride + j];
      y[r * y_stride + j] = value;
    }
  }
}

}  // namespace

void add_epilogue_s8(KernelTable& table) {
  table.epilogue_s8 = epilogue_s8;
}

}  // namespace whittle::ref
