// How often each value of the bits of |x| occurs: a pass of the radix selection of a magnitude threshold.
#include "kernels/cuda/launch.cuh"

namespace whittle::cuda {

namespace {

constexpr int kHistogramThreads = 1024;
// Magnitudes from 2^-63 up are counted in shared memory, 96 KB, which is what every kind of GPU has; the few below, but
// for zeros, in the GPU's.
constexpr uint32_t kFirstSharedBin = 8192, kSharedBins = kUpperBins - kFirstSharedBin;

int histogram_multiprocessors = 1;

__device__ __forceinline__ uint32_t magnitude_bits(float x) {
  return float_bits(x) & 0x7fffffffu;
}

__device__ __forceinline__ void count_upper(float x, uint32_t* shared_bins, uint64_t* counts, uint32_t* zeros) {
  const uint32_t bin = magnitude_bits(x) >> 16;
  if (bin >= kFirstSharedBin)
    add_atomically(shared_bins + (bin - kFirstSharedBin), 1u);
  else if (bin == 0)
    ++*zeros;
  else
    add_atomically(counts + bin, uint64_t{1});
}

// Calls each(x) for the calling thread's elements, with several loads on their way before the first is used.
template <typename Each>
__device__ __forceinline__ void go_over(const MagnitudeHistogram& h, const Each& each) {
  constexpr int kBatch = 4;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kHistogramThreads + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kHistogramThreads, quads = h.count / 4;
  const float4* x = reinterpret_cast<const float4*>(h.x);
  const auto each_of = [&](const float4& four) {
    each(four.x);
    each(four.y);
    each(four.z);
    each(four.w);
  };
  int64_t i = first;
  for (; i + (kBatch - 1) * threads < quads; i += kBatch * threads) {
    float4 batch[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) batch[b] = x[i + b * threads];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) each_of(batch[b]);
  }
  for (; i < quads; i += threads) each_of(x[i]);
  if (quads * 4 + first < h.count) each(h.x[quads * 4 + first]);
}

__global__ void __launch_bounds__(kHistogramThreads, 1) magnitude_histogram_kernel(const MagnitudeHistogram h) {
  uint32_t* bins = reinterpret_cast<uint32_t*>(dynamic_shared());
  const uint32_t thread = threadIdx.x;
  for (uint32_t bin = thread; bin < kSharedBins; bin += kHistogramThreads) bins[bin] = 0;
  sync_block();
  uint32_t zeros = 0;
  go_over(h, [&](float x) { count_upper(x, bins, h.counts, &zeros); });
  for (int mask = 16; mask > 0; mask /= 2) zeros += shuffle_xor(zeros, mask);
  if (thread % 32 == 0 && zeros > 0) add_atomically(h.counts, uint64_t{zeros});
  sync_block();
  for (uint32_t bin = thread; bin < kSharedBins; bin += kHistogramThreads)
    if (bins[bin] > 0) add_atomically(h.counts + kFirstSharedBin + bin, uint64_t{bins[bin]});
}

// Few elements lie in any one bin of the upper bits, so that counting them in the GPU's memory does.
__global__ void __launch_bounds__(kHistogramThreads, 1) magnitude_histogram_within_kernel(const MagnitudeHistogram h) {
  go_over(h, [&](float x) {
    const uint32_t bits = magnitude_bits(x);
    if (bits >> 16 == static_cast<uint32_t>(h.within)) add_atomically(h.counts + (bits & 0xffffu), uint64_t{1});
  });
}

void run_magnitude_histogram(const MagnitudeHistogram& h, Stream stream) {
  const int64_t wanted = (h.count + 4 * kHistogramThreads - 1) / (4 * kHistogramThreads);
  const int64_t most = histogram_multiprocessors * (h.within < 0 ? 1 : 2);
  const Grid grid{wanted < most ? wanted : most};
  if (h.within < 0)
    launch(magnitude_histogram_kernel, grid, kHistogramThreads, kSharedBins * 4, stream, h);
  else
    launch(magnitude_histogram_within_kernel, grid, kHistogramThreads, 0, stream, h);
}

}  // namespace

void add_magnitude_histogram(KernelTable& table, const Target& target) {
  histogram_multiprocessors = target.multiprocessors;
  table.magnitude_histogram = run_magnitude_histogram;
}

}  // namespace whittle::cuda
