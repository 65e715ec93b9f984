// One parameter in one step of an optimizer.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/tensor_chunks.h"

namespace whittle {

struct ParameterUpdate {
  float* parameter;       // [count]
  const float* gradient;  // [count]
  int64_t count;
  const uint8_t* mask;  // [count] or null; where 0, the parameter is held at 0
  float learning_rate;
  float weight_decay;
};

// Calls update(tensor, begin, end) for chunks of all tensors, in parallel, and holds the masks there. Tensor is a
// ParameterUpdate with more.
template <typename Tensor, typename Update>
void update_in_chunks(const std::vector<Tensor>& tensors, const Context& context, const Update& update) {
  for_each_chunk(tensors, context, [&](const Tensor& tensor, int64_t begin, int64_t end) {
    update(tensor, begin, end);
    if (tensor.mask) context.kernels.apply_mask(tensor.parameter + begin, tensor.mask + begin, end - begin);
  });
}

}  // namespace whittle
