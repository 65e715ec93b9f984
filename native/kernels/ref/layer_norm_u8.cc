#include "kernels/ref/float16.h"
#include "kernels/ref/quantize_row_u8.h"

namespace whittle::ref {

namespace {

// In the order of vector/sum_lanes.h, so that int8 engines give the same bits on every ISA.
template <typename Add>
float sum_lanes(int64_t count, const Add& add) {
  float lanes[16] = {};
  for (int64_t c = 0; c < count; ++c) add(c, &lanes[c % 16]);
  for (int half = 8; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  return lanes[0];
}

void layer_norm_u8(const float* x, int64_t x_stride, int64_t rows, int64_t cols, const float* gamma, const float* beta,
                   float eps, float* y, int64_t y_stride, int most, uint8_t* q, int64_t q_stride, float* scales,
                   RowOutliers* outliers) {
  const float share = 1 / static_cast<float>(cols);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = y + r * y_stride;
    for (int64_t c = 0; c < cols; ++c) row[c] = round_to_f16(x[r * x_stride + c]);
    const float center = sum_lanes(cols, [&](int64_t c, float* lane) { *lane += row[c]; }) * share;
    const float squares =
        sum_lanes(cols, [&](int64_t c, float* lane) { *lane = std::fma(row[c] - center, row[c] - center, *lane); });
    const float scale = 1 / std::sqrt(squares * share + eps);
    for (int64_t c = 0; c < cols; ++c) row[c] = std::fma((row[c] - center) * scale, gamma[c], beta[c]);
    quantize_row_u8(row, cols, most, q + r * q_stride, scales + r, most > 0 ? outliers + r : nullptr);
  }
}

}  // namespace

void add_layer_norm_u8(KernelTable& table) {
  table.layer_norm_u8 = layer_norm_u8;
}

}  // namespace whittle::ref
