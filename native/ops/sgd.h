// Stochastic gradient descent over all parameters in one call.
#pragma once

#include "ops/parameter_update.h"

namespace whittle {

struct SgdTensor : ParameterUpdate {
  float* velocity;  // [count], zeros at the first update; null without momentum
};

struct SgdOptions {
  float momentum;
  bool nesterov;
  float gradient_scale;  // clipping
};

void sgd(const std::vector<SgdTensor>& tensors, const SgdOptions& options, const Context& context);

}  // namespace whittle
