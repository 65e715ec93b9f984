#include "ops/moving_average.h"

#include "ops/tensor_chunks.h"

namespace whittle {

void moving_average(const std::vector<MovingAverage>& tensors, float share, const Context& context) {
  for_each_chunk(tensors, context, [&](const MovingAverage& tensor, int64_t begin, int64_t end) {
    context.kernels.moving_average(tensor.average + begin, tensor.values + begin, end - begin, share);
  });
}

}  // namespace whittle
