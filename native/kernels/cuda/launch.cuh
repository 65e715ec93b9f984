// Launching a kernel, on the GPU or in the shim.
#pragma once

#include "cpu/error.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernel_table.h"

#if defined(WHITTLE_CUDA_SHIM)
#include <functional>

namespace whittle::cuda::shim {
// Runs now, or with the graph that the stream is capturing.
void enqueue(Stream stream, std::function<void()> work);
}  // namespace whittle::cuda::shim
#endif

namespace whittle::cuda {

struct Grid {
  int64_t x, y = 1;
};

// kernel(arguments...) with dynamic shared memory. Nothing if the grid is empty. Throws Error INTERNAL.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), Grid grid, int threads, int shared_bytes, Stream stream,
            const Arguments&... arguments) {
  if (grid.x <= 0 || grid.y <= 0) return;
#if defined(WHITTLE_CUDA_SHIM)
  const shim::Dim3 dimension{static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), 1};
  shim::enqueue(stream, [=] { shim::run_grid(dimension, threads, shared_bytes, [=] { kernel(arguments...); }); });
#else
  cudaError_t error = cudaSuccess;
  if (shared_bytes > 48 * 1024)
    error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 shared_bytes);
  // cudaLaunchKernel rather than the brackets of nvcc, which clang-format takes apart.
  const auto call = [&](Parameters... values) {
    void* pointers[] = {&values...};
    return cudaLaunchKernel(reinterpret_cast<const void*>(kernel),
                            dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y)),
                            dim3(static_cast<unsigned>(threads)), pointers, static_cast<size_t>(shared_bytes),
                            static_cast<cudaStream_t>(stream));
  };
  if (error == cudaSuccess) error = call(arguments...);
  if (error == cudaSuccess) error = cudaGetLastError();
  if (error != cudaSuccess)
    throw Error("INTERNAL", std::string("A CUDA kernel could not be launched: ") + cudaGetErrorString(error));
#endif
}

}  // namespace whittle::cuda
