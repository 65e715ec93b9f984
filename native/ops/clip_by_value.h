// Limits on the elements of all gradients in one call.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/context.h"

namespace whittle {

struct ClippedTensor {
  float* data;  // [count]
  int64_t count;
};

// Cuts each element to within [-limit, limit]. A tensor may be there twice, as the gradient of two parameters.
void clip_by_value(std::vector<ClippedTensor> tensors, float limit, const Context& context);

}  // namespace whittle
