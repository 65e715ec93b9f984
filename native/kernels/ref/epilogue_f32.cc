#include <cstdint>

#include "kernels/kernel_table.h"
#include "kernels/ref/activation.h"

namespace whittle::ref {

namespace {

void epilogue_f32(const float* c, int64_t c_stride, int64_t rows, int64_t cols, const float* bias, Activation act,
                  const float* residual, int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < cols; ++j) {
      float value = c[r * c_stride + j];
      if (bias) value += bias[j];
      value = activate(value, act);
      if (residual) value += residual[r * residual_stride + j];
      y[r * y_stride + j] = value;
    }
  }
}

}  // namespace

void add_epilogue_f32(KernelTable& table) {
  table.epilogue_f32 = epilogue_f32;
}

}  // namespace whittle::ref
