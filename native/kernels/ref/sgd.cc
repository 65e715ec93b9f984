#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void sgd(float* p, const float* g, float* velocity, int64_t count, float learning_rate, float momentum, bool nesterov,
         float weight_decay, float grad_scale) {
  for (int64_t i = 0; i < count; ++i) {
    double change = static_cast<double>(g[i]) * grad_scale + static_cast<double>(weight_decay) * p[i];
    if (velocity) {
      const double speed = static_cast<double>(momentum) * velocity[i] + change;
      velocity[i] = static_cast<float>(speed);
      change = nesterov ? change + momentum * speed : speed;
    }
    p[i] = static_cast<float>(p[i] - learning_rate * change);
  }
}

}  // namespace

void add_sgd(KernelTable& table) {
  table.sgd = sgd;
}

}  // namespace whittle::ref
