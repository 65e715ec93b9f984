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
// Launches the kernel as part of a graph, the way the engine does, with so many blocks and no rows.
template <int kCluster>
cudaError_t try_launch(int blocks, cudaStream_t stream, int32_t* rows) {
  cudaError_t error = cudaMemsetAsync(rows, 0, sizeof(int32_t), stream);
  if (error == cudaSuccess) error = cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
  if (error != cudaSuccess) return error;
  GemmGelu g{};
  g.rows = rows;
  g.most_rows = int64_t{blocks} * kPanelRows;
  g.a.k = kMostPanelBlocks * kRowBytes;
  g.grid = {kCluster, blocks / kCluster, kCluster};
  try {
    launch_gemm_gelu_panels<kCluster>(g, stream);
  } catch (const LaunchError&) {
    error = cudaErrorUnknown;
  }
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  const cudaError_t captured = cudaStreamEndCapture(stream, &graph);
  if (error == cudaSuccess) error = captured;
  if (error == cudaSuccess) error = cudaGraphInstantiate(&executable, graph, 0);
  if (error == cudaSuccess) error = cudaGraphLaunch(executable, stream);
  if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
  if (executable) cudaGraphExecDestroy(executable);
  if (graph) cudaGraphDestroy(graph);
  return error;
}

// How many blocks the GPU has at work at once, by what it says and by a launch of so many.
template <int kCluster>
int most_blocks_at_once(int multiprocessors) {
  const int blocks = blocks_at_once(gemm_gelu_panels_kernel<kCluster>, kCluster, kPanelThreads,
                                    gelu_panels_shared_bytes(kMostPanelBlocks * kRowBytes), multiprocessors);
  cudaStream_t stream = nullptr;
  int32_t* rows = nullptr;
  cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (error == cudaSuccess) error = cudaMalloc(reinterpret_cast<void**>(&rows), sizeof(int32_t));
  if (error == cudaSuccess && blocks > 0) error = try_launch<kCluster>(blocks, stream, rows);
  if (rows) cudaFree(rows);
  if (stream) cudaStreamDestroy(stream);
  if (error == cudaSuccess) return blocks;
  cudaGetLastError();  // Else the next one who asks takes it for an error of its own.
  return 0;
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
