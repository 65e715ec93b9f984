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
// Blocks of the kernel, in clusters, that the current GPU has at work at the same time; a block takes most of a
// multiprocessor's shared memory. 0 if it cannot be told: the two kernels remain.
template <int kCluster>
int most_blocks_at_once(int multiprocessors) {
  const void* kernel = reinterpret_cast<const void*>(gemm_gelu_panels_kernel<kCluster>);
  const int bytes = gelu_panels_shared_bytes(kMostPanelBlocks * kRowBytes);
  if (kCluster == 1) return multiprocessors;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(multiprocessors / kCluster * kCluster));
  config.blockDim = dim3(kPanelThreads);
  config.dynamicSmemBytes = static_cast<size_t>(bytes);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = kCluster;
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  config.attrs = &attribute;
  config.numAttrs = 1;
  int clusters = 0;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error == cudaSuccess) error = cudaOccupancyMaxActiveClusters(&clusters, kernel, &config);
  if (error == cudaSuccess) return clusters * kCluster;
  cudaGetLastError();  // Else the next one who asks takes it for an error of its own.
  return 0;
}

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
