// The int8 product before GELU, with GELU and the quantization for the next product: gemm_s8 and quantize_gelu_u8 in
// one where Hopper's matrix instructions are and all blocks fit onto the GPU at the same time.
#include "kernels/cuda/gemm_gelu_panels.cuh"

namespace whittle::cuda {

namespace {

#if defined(WHITTLE_CUDA_SHIM)
// As many as it takes for MiniLM: the shim has all blocks of a grid at work at once if they are asked for.
int blocks_at_once(int, int) {
  return 12;
}
#else
template <int kCluster>
int most_blocks_at_once(int multiprocessors) {
  return blocks_at_once(gemm_gelu_panels_kernel<kCluster>, kCluster, kPanelThreads,
                        gelu_panels_shared_bytes(kMostPanelBlocks * kRowBytes), multiprocessors);
}

// 0: the two kernels remain.
int blocks_at_once(int cluster, int multiprocessors) {
  int device = 0, cooperative = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, device) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  if (!cooperative) return 0;
  return cluster == 4   ? most_blocks_at_once<4>(multiprocessors)
         : cluster == 2 ? most_blocks_at_once<2>(multiprocessors)
                        : most_blocks_at_once<1>(multiprocessors);
}
#endif

}  // namespace

void add_gemm_gelu_s8(KernelTable& table, const Target& target) {
  if (target.capability != 90) return;
  table.gemm_gelu_s8 = run_gemm_gelu_panels;
  for (int size = 0; size < 3; ++size) table.gelu_blocks[size] = blocks_at_once(1 << size, target.multiprocessors);
}

}  // namespace whittle::cuda
