#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

// With n = (x - mean) * rstd and g = dy * gamma: dx = rstd * (g - average(g) - n * average(g * n)).
void layer_norm_backward(const float* dy, const float* x, const float* gamma, const float* mean, const float* rstd,
                         int64_t rows, int64_t cols, float* dx, float* dgamma, float* dbeta) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* grad = dy + r * cols;
    const float* in = x + r * cols;
    float* out = dx + r * cols;
    double center = mean[r], scale = rstd[r], sum_g = 0, sum_gn = 0;
    for (int64_t c = 0; c < cols; ++c) {
      double n = (in[c] - center) * scale, g = static_cast<double>(grad[c]) * gamma[c];
      sum_g += g;
      sum_gn += g * n;
    }
    sum_g /= static_cast<double>(cols);
    sum_gn /= static_cast<double>(cols);
    for (int64_t c = 0; c < cols; ++c) {
      double n = (in[c] - center) * scale, g = static_cast<double>(grad[c]) * gamma[c];
      dgamma[c] += static_cast<float>(grad[c] * n);
      dbeta[c] += grad[c];
      out[c] = static_cast<float>(scale * (g - sum_g - n * sum_gn));
    }
  }
}

}  // namespace

void add_layer_norm_backward(KernelTable& table) {
  table.layer_norm_backward = layer_norm_backward;
}

}  // namespace whittle::ref
