#include "kernels/avx2/floats.h"
#include "kernels/avx2/quantize_row_u8.h"
#include "kernels/vector/layer_norm.h"

namespace whittle::avx2 {

namespace {

void layer_norm_u8(const float* x, int64_t x_stride, int64_t rows, int64_t cols, const float* gamma, const float* beta,
                   float eps, float* y, int64_t y_stride, int most, uint8_t* q, int64_t q_stride, float* scales,
                   RowOutliers* outliers) {
  for (int64_t begin = 0; begin < rows; begin += vector::kNormRows) {
    const int64_t count = rows - begin < vector::kNormRows ? rows - begin : vector::kNormRows;
    vector::layer_norm<Floats>(x + begin * x_stride, x_stride, count, cols, gamma, beta, eps, y + begin * y_stride,
                               y_stride, nullptr, nullptr);
    for (int64_t r = begin; r < begin + count; ++r)
      quantize_row_u8(y + r * y_stride, cols, most, q + r * q_stride, scales + r, most > 0 ? outliers + r : nullptr);
  }
}

}  // namespace

void add_layer_norm_u8(KernelTable& table) {
  table.layer_norm_u8 = layer_norm_u8;
}

}  // namespace whittle::avx2
