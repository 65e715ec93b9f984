#include "ops/softmax.h"

namespace whittle {

namespace {

constexpr int64_t kElementsPerTask = 1 << 14;

int64_t rows_per_task(int64_t cols) {
  return cols < kElementsPerTask ? kElementsPerTask / cols : 1;
}

}  // namespace

void softmax(const float* x, int64_t rows, int64_t cols, float* y, const Context& context) {
  context.pool.split(rows, rows_per_task(cols), context.threads, [&](int64_t begin, int64_t end) {
    context.kernels.softmax(x + begin * cols, cols, end - begin, cols, y + begin * cols, cols);
  });
}

void softmax_backward(const float* y, const float* dy, int64_t rows, int64_t cols, float* dx, const Context& context) {
  context.pool.split(rows, rows_per_task(cols), context.threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* probability = y + r * cols;
      const float* gradient = dy + r * cols;
      double sum = 0;
      for (int64_t c = 0; c < cols; ++c) sum += static_cast<double>(probability[c]) * gradient[c];
      const float average = static_cast<float>(sum);
      for (int64_t c = 0; c < cols; ++c) dx[r * cols + c] = probability[c] * (gradient[c] - average);
    }
  });
}

}  // namespace whittle
