#include "ops/lion.h"

namespace whittle {

void lion(const std::vector<LionTensor>& tensors, const LionOptions& options, const Context& context) {
  update_in_chunks(tensors, context, [&](const LionTensor& tensor, int64_t begin, int64_t end) {
    context.kernels.lion(tensor.parameter + begin, tensor.gradient + begin, tensor.momentum + begin, end - begin,
                         tensor.learning_rate, options.beta1, options.beta2, tensor.weight_decay,
                         options.gradient_scale);
  });
}

}  // namespace whittle
