// One row a sequence: its first, or the mean of all.
#include "kernels/cuda/launch.cuh"

namespace whittle::cuda {

namespace {

constexpr int kPoolingThreads = 128;

__global__ void __launch_bounds__(kPoolingThreads) pooling_kernel(const Pooling p) {
  const int64_t sequence = blockIdx.x;
  if (sequence >= *p.sequences) return;
  const int64_t begin = p.offsets[sequence], end = p.mean ? p.offsets[sequence + 1] : begin + 1;
  const float scale = 1.0f / static_cast<float>(end - begin);
  for (int64_t c = threadIdx.x; c < p.cols; c += kPoolingThreads) {
    float sum = 0;
    for (int64_t t = begin; t < end; ++t) sum = add(sum, p.x[t * p.cols + c]);
    p.y[sequence * p.cols + c] = multiply(sum, scale);
  }
}

void run_pooling(const Pooling& p, Stream stream) {
  launch(pooling_kernel, {p.most_sequences}, kPoolingThreads, 0, stream, p);
}

}  // namespace

void add_pooling(KernelTable& table) {
  table.pooling = run_pooling;
}

}  // namespace whittle::cuda
