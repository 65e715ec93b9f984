#include "ops/clip_by_value.h"

#include <algorithm>
#include <functional>

#include "ops/tensor_chunks.h"

namespace whittle {

void clip_by_value(std::vector<ClippedTensor> tensors, float limit, const Context& context) {
  // Two threads must not write the same memory, even if they write the same.
  std::sort(tensors.begin(), tensors.end(),
            [](const ClippedTensor& a, const ClippedTensor& b) { return std::less<>()(a.data, b.data); });
  tensors.erase(std::unique(tensors.begin(), tensors.end(),
                            [](const ClippedTensor& a, const ClippedTensor& b) {
                              return a.data == b.data && a.count == b.count;
                            }),
                tensors.end());
  for_each_chunk(tensors, context, [&](const ClippedTensor& tensor, int64_t begin, int64_t end) {
    context.kernels.clip_by_value(tensor.data + begin, end - begin, limit);
  });
}

}  // namespace whittle
