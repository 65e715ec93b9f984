// Which elements a magnitude threshold leaves, with an exact number of those that are equal to it.
#include "kernels/cuda/launch.cuh"

namespace whittle::cuda {

namespace {

constexpr int kMaskThreads = 256, kMaskWarps = kMaskThreads / 32;
constexpr int kWarpElements = kMaskBlock / kMaskWarps, kSteps = kWarpElements / 128;

// A warp's part of a block, 128 elements a step, of which a lane has 4 side by side; all loads are on their way before
// the first is used.
struct Part {
  int64_t at;  // of the lane's first element
  int64_t count;
  float magnitudes[kSteps][4];  // NaN behind the last element, which compares as nothing does

  __device__ __forceinline__ Part(const MagnitudeMask& m, int64_t begin, int lane)
      : at(begin + lane * 4), count(m.count) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      float4 four{bits_float(~0u), bits_float(~0u), bits_float(~0u), bits_float(~0u)};
      if (whole(step)) {
        four = *reinterpret_cast<const float4*>(m.x + at + 128 * step);
      } else if (at + 128 * step < count) {
        four.x = m.x[at + 128 * step];
        if (at + 128 * step + 1 < count) four.y = m.x[at + 128 * step + 1];
        if (at + 128 * step + 2 < count) four.z = m.x[at + 128 * step + 2];
      }
      magnitudes[step][0] = fabsf(four.x);
      magnitudes[step][1] = fabsf(four.y);
      magnitudes[step][2] = fabsf(four.z);
      magnitudes[step][3] = fabsf(four.w);
    }
  }
  __device__ __forceinline__ bool whole(int step) const { return at + 128 * step + 3 < count; }
  __device__ __forceinline__ void store(uint8_t* mask, int step, const bool (&kept)[4]) const {
    uint8_t* to = mask + at + 128 * step;
    if (whole(step)) {
      *reinterpret_cast<uint32_t*>(to) = uint32_t{kept[0]} | uint32_t{kept[1]} << 8 | uint32_t{kept[2]} << 16 |
                                         uint32_t{kept[3]} << 24;
      return;
    }
#pragma unroll
    for (int e = 0; e < 3; ++e)
      if (at + 128 * step + e < count) to[e] = kept[e];
  }
};

__global__ void __launch_bounds__(kMaskThreads, 4) magnitude_mask_kernel(const MagnitudeMask m) {
  uint32_t* ties_of_warps = reinterpret_cast<uint32_t*>(dynamic_shared());
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t block = blockIdx.x;
  const Part part(m, block * kMaskBlock + warp * kWarpElements, lane);
  uint32_t ties = 0;
#pragma unroll
  for (int step = 0; step < kSteps; ++step)
#pragma unroll
    for (int e = 0; e < 4; ++e) ties += part.magnitudes[step][e] == m.threshold;
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) ties += shuffle_xor(ties, mask);
  if (lane == 0) ties_of_warps[warp] = ties;
  sync_block();
  if (!m.ties_before) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      bool kept[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) kept[e] = part.magnitudes[step][e] > m.threshold;
      part.store(m.mask, step, kept);
    }
    if (threadIdx.x != 0) return;
    int32_t sum = 0;
    for (int other = 0; other < kMaskWarps; ++other) sum += static_cast<int32_t>(ties_of_warps[other]);
    m.ties[block] = sum;
    return;
  }
  int64_t before = m.ties_before[block];
  for (int other = 0; other < warp; ++other) before += ties_of_warps[other];
  const uint32_t below = (1u << lane) - 1;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    bool kept[4];
    int64_t rank = before;  // of the lane's first tie of this step
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const uint32_t votes = ballot(part.magnitudes[step][e] == m.threshold);
      rank += __popc(votes & below);
      before += __popc(votes);
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const bool is_tie = part.magnitudes[step][e] == m.threshold;
      kept[e] = part.magnitudes[step][e] > m.threshold || (is_tie && rank >= m.cut_ties);
      rank += is_tie;
    }
    part.store(m.mask, step, kept);
  }
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
