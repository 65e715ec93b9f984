// The optimizer step over all parameters in one call.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/context.h"

namespace whittle {

// One gradient: all of it, or only the given rows of [rows, width] where the rest is known to be zero.
struct Gradient {
  const float* data;
  int64_t count;
  const int32_t* rows;  // ascending ids, or null: all
  int64_t row_count;
  int64_t width;
};

struct AdamwTensor {
  float* parameter;  // [count], as the two moments
  float* first_moment;
  float* second_moment;
  Gradient gradient;
  const uint8_t* mask;  // [count] or null; where 0, the parameter is held at 0
  float learning_rate;
  float weight_decay;
  int64_t step;  // 1 at the first update
};

struct AdamwOptions {
  double beta1, beta2;
  float epsilon;
  float gradient_scale;  // clipping
};

void adamw(const std::vector<AdamwTensor>& tensors, const AdamwOptions& options, const Context& context);

// Euclidean norm of all gradients together, summed in double over chunks of a fixed size, in order.
double gradient_norm(const std::vector<Gradient>& gradients, const Context& context);

}  // namespace whittle
