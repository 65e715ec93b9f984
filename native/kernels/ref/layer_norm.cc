#include <cmath>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void layer_norm(const float* x, int64_t x_stride, int64_t rows, int64_t cols, const float* gamma, const float* beta,
                float eps, float* y, int64_t y_stride, float* mean, float* rstd) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * x_stride;
    float* out = y + r * y_stride;
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < cols; ++c) sum += in[c];
    double center = sum / static_cast<double>(cols);
    for (int64_t c = 0; c < cols; ++c) squares += (in[c] - center) * (in[c] - center);
    double scale = 1 / std::sqrt(squares / static_cast<double>(cols) + eps);
    for (int64_t c = 0; c < cols; ++c) out[c] = static_cast<float>((in[c] - center) * scale * gamma[c] + beta[c]);
    if (mean) mean[r] = static_cast<float>(center);
    if (rstd) rstd[r] = static_cast<float>(scale);
  }
}

}  // namespace

void add_layer_norm(KernelTable& table) {
  table.layer_norm = layer_norm;
}

}  // namespace whittle::ref
