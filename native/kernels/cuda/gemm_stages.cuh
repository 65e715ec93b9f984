// What products by wgmma share: the turns of their stages, and the steps of a multiplication.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernel_table.h"

namespace whittle::cuda {

// A stage of shared memory and the parity of its turn.
template <int kStages>
struct StageTurn {
  int stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

#if WHITTLE_HAS_WGMMA
template <typename Sum, int kCount>
__device__ __forceinline__ void clear_sums(Sum (&sums)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) sums[i] = 0;
  hold_accumulators(sums);
}

// Starts, as a group to be waited for, sums = A W^T of 64 rows of a stage and those of W, 128 bytes of k; plus what
// they were, if asked.
template <typename Address, typename Sum, int kCount>
__device__ __forceinline__ void start_products(Address a, Address w, bool accumulate, Sum (&sums)[kCount]) {
  wgmma_fence();
  const uint64_t of_a = matrix_descriptor(a), of_w = matrix_descriptor(w);
#pragma unroll
  for (int part = 0; part < 4; ++part) wgmma(sums, of_a + 2 * part, of_w + 2 * part, accumulate || part > 0);
  wgmma_commit();
}

// The stage may be filled again, as far as this warp goes: by each block of the cluster.
template <int kCluster>
__device__ __forceinline__ void free_stage(uint64_t* empty, int lane) {
  if (kCluster == 1) {
    if (lane == 0) barrier_arrive(empty);
  } else {
    if (lane < kCluster) barrier_arrive_at(empty, lane);
  }
}
#endif

}  // namespace whittle::cuda
