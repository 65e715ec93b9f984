#include "ops/sgd.h"

namespace whittle {

void sgd(const std::vector<SgdTensor>& tensors, const SgdOptions& options, const Context& context) {
  update_in_chunks(tensors, context, [&](const SgdTensor& tensor, int64_t begin, int64_t end) {
    context.kernels.sgd(tensor.parameter + begin, tensor.gradient + begin,
                        tensor.velocity ? tensor.velocity + begin : nullptr, end - begin, tensor.learning_rate,
                        options.momentum, options.nesterov, tensor.weight_decay, options.gradient_scale);
  });
}

}  // namespace whittle
