// Launching a kernel, on the GPU or in the shim.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernel_table.h"
#include "kernels/cuda/launch_error.h"

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
  int cluster = 1;  // so many blocks side by side run together and reach each other's shared memory; divides x
  bool together = false;  // all blocks are at work at the same time, so that they may wait for each other
  bool shared = false;  // blocks fill multiprocessors by their shared memory, which then takes the place of caches
};

#if !defined(WHITTLE_CUDA_SHIM)
[[noreturn]] inline void refuse_launch(cudaError_t error) {
  cudaGetLastError();  // Else the next one who asks takes it for an error of its own.
  const std::string found = std::string(": ") + cudaGetErrorString(error);
  switch (error) {
    case cudaErrorMemoryAllocation:
      throw LaunchError("DEVICE", "The GPU has no memory left for a kernel's code" + found, true);
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorInvalidKernelImage:
    case cudaErrorInvalidPtx:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorJitCompilationDisabled:
      throw LaunchError("UNSUPPORTED", "This build has no kernels for this kind of GPU" + found);
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorLaunchOutOfResources:
    case cudaErrorCooperativeLaunchTooLarge:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
      throw LaunchError("INTERNAL", "A CUDA kernel could not be launched" + found);
    default:
      throw LaunchError("DEVICE", "The GPU was lost before a kernel was launched" + found +
                                      "; start the process again, or use device cpu");
  }
}

// Lets blocks of the kernel have all the shared memory that the current GPU gives, not just `bytes`: the limit belongs
// to the kernel, and of two threads that launch it with different sizes one would lower it before the other's launch.
inline void allow_shared_memory(const void* kernel, int bytes) {
  int device = 0, most = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error == cudaSuccess && bytes > most)
    throw LaunchError("UNSUPPORTED", "Expected a GPU that gives " + std::to_string(bytes) +
                                         " bytes of shared memory to a block, which rows of this model's width need, "
                                         "but this one gives " + std::to_string(most));
  if (error == cudaSuccess) error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
  if (error != cudaSuccess) refuse_launch(error);
}
#endif

#if !defined(WHITTLE_CUDA_SHIM)
// Blocks of the kernel, `most` or fewer, that the current GPU has at work at the same time in clusters of so many,
// if one takes most of a multiprocessor's shared memory; 0 if it cannot be told. A cluster lies within a part of the
// GPU whose multiprocessors need not be a multiple of its blocks.
template <typename... Parameters>
int blocks_at_once(void (*kernel)(Parameters...), int cluster, int threads, int shared_bytes, int most) {
  if (cluster == 1) return most;
  const void* pointer = reinterpret_cast<const void*>(kernel);
  cudaLaunchAttribute clusters{};
  clusters.id = cudaLaunchAttributeClusterDimension;
  clusters.val.clusterDim.x = static_cast<unsigned>(cluster);
  clusters.val.clusterDim.y = clusters.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(most / cluster * cluster));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.attrs = &clusters;
  config.numAttrs = 1;
  int found = 0;
  cudaError_t error = cudaFuncSetAttribute(pointer, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  if (error == cudaSuccess) error = cudaOccupancyMaxActiveClusters(&found, pointer, &config);
  if (error == cudaSuccess) return found * cluster < most ? found * cluster : most;
  cudaGetLastError();  // Else the next one who asks takes it for an error of its own.
  return 0;
}
#endif

// kernel(arguments...) with dynamic shared memory, on the current GPU. Nothing if the grid is empty. Throws LaunchError
// DEVICE, UNSUPPORTED or INTERNAL.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), Grid grid, int threads, int shared_bytes, Stream stream,
            const Arguments&... arguments) {
  if (grid.x <= 0 || grid.y <= 0) return;
#if defined(WHITTLE_CUDA_SHIM)
  const shim::Dim3 dimension{static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), 1};
  shim::enqueue(stream, [=] {
    shim::run_grid(dimension, threads, shared_bytes, [=] { kernel(arguments...); }, grid.cluster, grid.together);
  });
#else
  if (shared_bytes > 48 * 1024) allow_shared_memory(reinterpret_cast<const void*>(kernel), shared_bytes);
  // cudaLaunchKernelExC rather than the brackets of nvcc, which clang-format takes apart.
  const auto call = [&](Parameters... values) {
    void* pointers[] = {&values...};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y));
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
    config.stream = static_cast<cudaStream_t>(stream);
    cudaLaunchAttribute attributes[3] = {};
    config.attrs = attributes;
    if (grid.cluster > 1) {
      cudaLaunchAttribute& clusters = attributes[config.numAttrs++];
      clusters.id = cudaLaunchAttributeClusterDimension;
      clusters.val.clusterDim.x = static_cast<unsigned>(grid.cluster);
      clusters.val.clusterDim.y = clusters.val.clusterDim.z = 1;
    }
    if (grid.together) {
      cudaLaunchAttribute& together = attributes[config.numAttrs++];
      together.id = cudaLaunchAttributeCooperative;
      together.val.cooperative = 1;
    }
    if (grid.shared) {
      cudaLaunchAttribute& carveout = attributes[config.numAttrs++];
      carveout.id = cudaLaunchAttributePreferredSharedMemoryCarveout;
      carveout.val.sharedMemCarveout = cudaSharedmemCarveoutMaxShared;
    }
    return cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), pointers);
  };
  if (const cudaError_t error = call(arguments...); error != cudaSuccess) refuse_launch(error);
#endif
}

}  // namespace whittle::cuda
