// Which elements a magnitude threshold leaves, with an exact number of those that are equal to it.
#include "kernels/cuda/launch.cuh"

namespace whittle::cuda {

namespace {

constexpr int kMaskThreads = 256, kMaskWarps = kMaskThreads / 32;
constexpr int kWarpElements = kMaskBlock / kMaskWarps;

// Calls each(index, magnitude, ties, rank): for the warp's part of a block, 32 elements at a time. `ties`: which of the
// 32 are at the threshold; `seen`: how many were before in this part.
template <typename Each>
__device__ __forceinline__ uint32_t go_over_part(const MagnitudeMask& m, int64_t begin, int lane, const Each& each) {
  uint32_t seen = 0;
  for (int64_t at = begin; at < begin + kWarpElements; at += 32) {
    const int64_t i = at + lane;
    const float magnitude = i < m.count ? fabsf(m.x[i]) : 0.0f;
    const uint32_t ties = ballot(i < m.count && magnitude == m.threshold);
    if (i < m.count) each(i, magnitude, ties, seen);
    seen += static_cast<uint32_t>(__popc(ties));
  }
  return seen;
}

__global__ void __launch_bounds__(kMaskThreads) magnitude_mask_kernel(const MagnitudeMask m) {
  uint32_t* ties_of_warps = reinterpret_cast<uint32_t*>(dynamic_shared());
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t block = blockIdx.x, begin = block * kMaskBlock + warp * kWarpElements;
  const bool ranked = m.ties_before != nullptr;
  const uint32_t ties = go_over_part(m, begin, lane, [&](int64_t i, float magnitude, uint32_t, uint32_t) {
    if (!ranked) m.mask[i] = magnitude > m.threshold;
  });
  if (lane == 0) ties_of_warps[warp] = ties;
  sync_block();
  if (!ranked) {
    if (threadIdx.x != 0) return;
    int32_t sum = 0;
    for (int other = 0; other < kMaskWarps; ++other) sum += static_cast<int32_t>(ties_of_warps[other]);
    m.ties[block] = sum;
    return;
  }
  int64_t before = m.ties_before[block];
  for (int other = 0; other < warp; ++other) before += ties_of_warps[other];
  go_over_part(m, begin, lane, [&](int64_t i, float magnitude, uint32_t among, uint32_t seen) {
    const int64_t rank = before + seen + __popc(among & ((1u << lane) - 1));
    m.mask[i] = magnitude > m.threshold || (magnitude == m.threshold && rank >= m.cut_ties);
  });
}

void run_magnitude_mask(const MagnitudeMask& m, Stream stream) {
  launch(magnitude_mask_kernel, {(m.count + kMaskBlock - 1) / kMaskBlock}, kMaskThreads,
         kMaskWarps * static_cast<int>(sizeof(uint32_t)), stream, m);
}

}  // namespace

void add_magnitude_mask(KernelTable& table) {
  table.magnitude_mask = run_magnitude_mask;
}

}  // namespace whittle::cuda
