#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void lion(float* p, const float* g, float* m, int64_t count, float learning_rate, float beta1, float beta2,
          float weight_decay, float grad_scale) {
  for (int64_t i = 0; i < count; ++i) {
    const double gradient = static_cast<double>(g[i]) * grad_scale;
    const double direction = static_cast<double>(beta1) * m[i] + (1 - static_cast<double>(beta1)) * gradient;
    const double sign = direction > 0 ? 1 : direction < 0 ? -1 : 0;
    p[i] = static_cast<float>(p[i] - learning_rate * (sign + static_cast<double>(weight_decay) * p[i]));
    m[i] = static_cast<float>(static_cast<double>(beta2) * m[i] + (1 - static_cast<double>(beta2)) * gradient);
  }
}

}  // namespace

void add_lion(KernelTable& table) {
  table.lion = lion;
}

}  // namespace whittle::ref
