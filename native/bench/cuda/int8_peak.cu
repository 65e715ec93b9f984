// How fast the matrix units multiply int8 when nothing else holds them up: operands in shared memory (wgmma) or in
// registers (mma.sync), random, since zeros take less power and so run faster than data does.
#include <cuda_runtime_api.h>

#include "bench/cuda/gpu_clock.h"
#include "kernels/cuda/launch.cuh"

namespace whittle::bench {

namespace {

constexpr int kSteps = 512, kPartsAStep = 4;  // products of 32 bytes a step
constexpr int kGroups = 2, kColumns = 256;
constexpr int kSharedBytes = (kGroups * 64 + kColumns) * cuda::kRowBytes;
constexpr int kTiles = 8;  // of 16 x 8, a warp, by mma.sync

__device__ __forceinline__ uint32_t scrambled(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ x >> 16;
}

#if WHITTLE_HAS_WGMMA
__device__ __forceinline__ int32_t multiply_on(int steps) {
  using namespace cuda;
  uint8_t* shared = dynamic_shared();
  for (uint32_t i = threadIdx.x; i < kSharedBytes / 4; i += blockDim.x)
    reinterpret_cast<uint32_t*>(shared)[i] = scrambled(i);
  // What ordinary stores wrote, the matrix units read.
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  sync_block();
  int32_t sums[kColumns / 2];
  for (int32_t& sum : sums) sum = 0;
  hold_accumulators(sums);
  const uint64_t a = matrix_descriptor(shared + threadIdx.x / 128 * 64 * kRowBytes);
  const uint64_t w = matrix_descriptor(shared + kGroups * 64 * kRowBytes);
  for (int step = 0; step < steps; ++step) {
    wgmma_fence();
#pragma unroll
    for (int part = 0; part < kPartsAStep; ++part) wgmma(sums, a + 2 * part, w + 2 * part, step > 0 || part > 0);
    wgmma_commit();
    wgmma_wait<1>();
  }
  wgmma_wait<0>();
  hold_accumulators(sums);
  int32_t all = 0;
  for (const int32_t sum : sums) all ^= sum;
  return all;
}
#elif WHITTLE_HAS_MMA_PRODUCTS
__device__ __forceinline__ int32_t multiply_on(int steps) {
  using namespace cuda;
  uint32_t a[4], b[kTiles][2];
  for (uint32_t i = 0; i < 4; ++i) a[i] = scrambled(threadIdx.x * 64 + i);
  for (uint32_t i = 0; i < kTiles * 2; ++i) b[i / 2][i % 2] = scrambled(threadIdx.x * 64 + 4 + i);
  int32_t sums[kTiles][4] = {};
  for (int step = 0; step < steps; ++step)
#pragma unroll
    for (int part = 0; part < kPartsAStep; ++part)
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) mma_s8(sums[tile], a, b[tile][0], b[tile][1]);
  int32_t all = 0;
  for (const auto& tile : sums)
    for (const int32_t sum : tile) all ^= sum;
  return all;
}
#else
__device__ __forceinline__ int32_t multiply_on(int) {
  return 0;
}
#endif

__global__ void __launch_bounds__(kGroups * 128, 1) int8_peak_kernel(int32_t* out, int steps) {
  out[(blockIdx.x * blockDim.x + threadIdx.x) % kPeakOutputs] = multiply_on(steps);
}

}  // namespace

double launch_int8_peak(const GpuInfo& gpu, int32_t* out, cuda::Stream stream) {
  const bool by_wgmma = gpu.capability == 90;
  const int blocks = gpu.multiprocessors * (by_wgmma ? 1 : 2);
  cuda::launch(int8_peak_kernel, {blocks}, kGroups * 128, kSharedBytes, stream, out, kSteps);
  const double a_step = by_wgmma ? kGroups * 64.0 * kColumns * 32 : kGroups * 4.0 * kTiles * 16 * 8 * 32;
  return 2 * a_step * kPartsAStep * kSteps * blocks;
}

}  // namespace whittle::bench
