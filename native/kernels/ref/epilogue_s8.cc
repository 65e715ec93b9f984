#include <cmath>
#include <cstdint>

#include "kernels/gelu_polynomial.h"
#include "kernels/kernel_table.h"
#include "kernels/ref/activation.h"

namespace whittle::ref {

namespace {

float gelu_polynomial(float x) {
  const float square = x * x, magnitude = std::fabs(x);
  float p = gelu_coefficient(6);
  for (int power = 5; power >= 0; --power) p = std::fma(p, square, gelu_coefficient(power));
  const float even = p * square;
  return (x + (even < magnitude ? even : magnitude)) * 0.5f;
}

void epilogue_s8(const SumsS8& s, int64_t rows, int64_t cols, const float* bias, Activation act, const float* residual,
                 int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < cols; ++j) {
      int32_t sum = s.sums[r * s.stride + j];
      if (s.offsets) sum += s.offsets[r] * s.column_sums[j];
      if (s.outliers) {
        const RowOutliers& o = s.outliers[r];
        for (int i = 0; i < o.count; ++i) sum += o.values[i] * s.columns[o.columns[i] * s.columns_stride + j];
      }
      const float of_row = static_cast<float>(sum) * s.row_scales[r];
      float value = bias ? std::fma(of_row, s.column_scales[j], bias[j]) : of_row * s.column_scales[j];
      value = act == Activation::gelu ? gelu_polynomial(value) : activate(value, act);
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
