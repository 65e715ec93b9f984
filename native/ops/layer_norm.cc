#include "ops/layer_norm.h"

#include <cstring>

namespace whittle {

namespace {

constexpr int64_t kBlock = 64;  // rows of one partial sum

}  // namespace

void layer_norm(const float* x, int64_t rows, int64_t cols, const float* gamma, const float* beta, float eps, float* y,
                float* mean, float* rstd, const Context& context) {
  context.pool.split(rows, kBlock, context.threads, [&](int64_t begin, int64_t end) {
    context.kernels.layer_norm(x + begin * cols, cols, end - begin, cols, gamma, beta, eps, y + begin * cols, cols,
                               mean ? mean + begin : nullptr, rstd ? rstd + begin : nullptr);
  });
}

void layer_norm_backward(const float* dy, const float* x, const float* gamma, const float* mean, const float* rstd,
                         int64_t rows, int64_t cols, float* dx, float* dgamma, float* dbeta, const Context& context) {
  Arena::Scope scope(context.arena);
  const int64_t blocks = (rows + kBlock - 1) / kBlock;
  float* partial = context.arena.take<float>(blocks * 2 * cols);  // [blocks, 2, cols]
  std::memset(partial, 0, static_cast<size_t>(blocks * 2 * cols) * sizeof(float));
  context.pool.run(blocks, context.threads, [&](int64_t block) {
    const int64_t begin = block * kBlock, end = begin + kBlock < rows ? begin + kBlock : rows;
    context.kernels.layer_norm_backward(dy + begin * cols, x + begin * cols, gamma, mean + begin, rstd + begin,
                                        end - begin, cols, dx + begin * cols, partial + block * 2 * cols,
                                        partial + (block * 2 + 1) * cols);
  });
  std::memset(dgamma, 0, static_cast<size_t>(cols) * sizeof(float));
  std::memset(dbeta, 0, static_cast<size_t>(cols) * sizeof(float));
  context.kernels.column_sums(partial, 2 * cols, blocks, cols, dgamma);
  context.kernels.column_sums(partial + cols, 2 * cols, blocks, cols, dbeta);
}

}  // namespace whittle
