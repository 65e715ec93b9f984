// A step of Lion over all parameters in one call.
#pragma once

#include "ops/parameter_update.h"

namespace whittle {

struct LionTensor : ParameterUpdate {
  float* momentum;  // [count]
};

struct LionOptions {
  float beta1, beta2;
  float gradient_scale;  // clipping
};

void lion(const std::vector<LionTensor>& tensors, const LionOptions& options, const Context& context);

}  // namespace whittle
