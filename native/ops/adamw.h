// The optimizer step over all parameters in one call.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/context.h"
#include "ops/packed_forms.h"

namespace whittle {

struct Gradient {
  const float* data;  // [count]
  int64_t count;
  // The rows of `width` elements that may not be zero, ascending; null: any element may be.
  const int32_t* rows = nullptr;
  int64_t row_count = 0;
  int64_t width = 0;
};

struct AdamwTensor {
  float* parameter;  // as long as the gradient, as the two moments
  float* first_moment;
  float* second_moment;
  Gradient gradient;
  const uint8_t* mask;  // as long, or null; where 0, the parameter is held at 0
  float learning_rate;
  float weight_decay;
  int64_t step;  // 1 at the first update
  // Written from the new parameter [count / columns, columns], unless they are null.
  PackedForms packed;
  int64_t columns = 0;
};

struct AdamwOptions {
  double beta1, beta2;
  float epsilon;
  float gradient_scale;            // clipping
  bool decay_in_gradient = false;  // Adam: the decay is an L2 term of the gradient
};

void adamw(const std::vector<AdamwTensor>& tensors, const AdamwOptions& options, const Context& context);

// Euclidean norm of all gradients together, summed in double over chunks of a fixed size, in order.
double gradient_norm(const std::vector<Gradient>& gradients, const Context& context);

}  // namespace whittle
