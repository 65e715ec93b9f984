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

__global__ void __launch_bounds__(kPoolingThreads) first_rows_kernel(const FirstRows f) {
  const int64_t sequence = blockIdx.x;
  if (sequence >= *f.sequences) return;
  const int64_t row = f.offsets[sequence];
  if (threadIdx.x == 0) f.y_stats[sequence] = f.stats[row];
  for (int64_t c = threadIdx.x; c < f.cols; c += kPoolingThreads) f.y[sequence * f.cols + c] = f.x[row * f.cols + c];
}

void run_pooling(const Pooling& p, Stream stream) {
  launch(pooling_kernel, {p.most_sequences}, kPoolingThreads, 0, stream, p);
}

void run_first_rows(const FirstRows& f, Stream stream) {
  launch(first_rows_kernel, {f.most_sequences}, kPoolingThreads, 0, stream, f);
}

}  // namespace

void add_pooling(KernelTable& table) {
  table.pooling = run_pooling;
  table.first_rows = run_first_rows;
}

}  // namespace whittle::cuda
