#include <cmath>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void adamw(float* p, const float* g, float* m, float* v, int64_t count, float learning_rate, float beta1, float beta2,
           float eps, float weight_decay, float gradient_decay, float grad_scale, float correction1,
           float correction2) {
  for (int64_t i = 0; i < count; ++i) {
    double gradient = (g ? static_cast<double>(g[i]) * grad_scale : 0) + static_cast<double>(gradient_decay) * p[i];
    double first = beta1 * static_cast<double>(m[i]) + (1 - static_cast<double>(beta1)) * gradient;
    double second = beta2 * static_cast<double>(v[i]) + (1 - static_cast<double>(beta2)) * gradient * gradient;
    m[i] = static_cast<float>(first);
    v[i] = static_cast<float>(second);
    double step = first / correction1 / (std::sqrt(second / correction2) + eps);
    p[i] = static_cast<float>(p[i] - learning_rate * (step + weight_decay * static_cast<double>(p[i])));
  }
}

}  // namespace

void add_adamw(KernelTable& table) {
  table.adamw = adamw;
}

}  // namespace whittle::ref
