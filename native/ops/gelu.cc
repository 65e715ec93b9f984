#include "ops/gelu.h"

namespace whittle {

namespace {

constexpr int64_t kElementsPerTask = 1 << 14;

}  // namespace

void gelu(const float* x, int64_t count, float* y, const Context& context) {
  context.pool.split(count, kElementsPerTask, context.threads,
                     [&](int64_t begin, int64_t end) { context.kernels.gelu(x + begin, end - begin, y + begin); });
}

void gelu_backward(const float* x, const float* dy, int64_t count, float* dx, const Context& context) {
  context.pool.split(count, kElementsPerTask, context.threads, [&](int64_t begin, int64_t end) {
    context.kernels.gelu_backward(x + begin, dy + begin, end - begin, dx + begin);
  });
}

}  // namespace whittle
