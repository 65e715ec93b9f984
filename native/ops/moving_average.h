// Running averages of all parameters in one call.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/context.h"

namespace whittle {

struct MovingAverage {
  float* average;       // [count]
  const float* values;  // [count]
  int64_t count;
};

// average += share * (values - average)
void moving_average(const std::vector<MovingAverage>& tensors, float share, const Context& context);

}  // namespace whittle
