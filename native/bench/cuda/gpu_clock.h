// What the benchmark needs of a GPU beyond engine/gpu_device.h. Implemented by the CUDA runtime (gpu_clock.cc) and, so
// that the benchmark itself can be tried without a GPU, by the host's clock on the shim (shim_clock.cc).
#pragma once

#include <cstdint>
#include <string>

#include "engine/gpu_device.h"

namespace whittle::bench {

struct GpuFacts {
  int64_t l2_bytes = 0;
  std::string driver;    // the kernel module's version, such as 580.159.04; empty if it is not told
  int cuda_version = 0;  // of the driver, 1000 * major + 10 * minor
};
GpuFacts gpu_facts(const GpuInfo& gpu);

// Microseconds of one launch of the graph, which is done when this returns.
double launch_us(GpuDevice& device, GpuGraph graph, cuda::Stream stream);

// Device memory to device memory.
void copy_on_device(void* to, const void* from, int64_t bytes, cuda::Stream stream);

// Launches int8 products whose operands stay on the multiprocessors: as fast as the matrix units go. Returns the
// operations (a multiplication and an addition are two), or 0 where there is no such kernel. `out` has
// kPeakOutputs int32.
inline constexpr int64_t kPeakOutputs = 1 << 20;
double launch_int8_peak(const GpuInfo& gpu, int32_t* out, cuda::Stream stream);

}  // namespace whittle::bench
