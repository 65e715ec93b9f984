// The CUDA tests' devices in the program of the CUDA build: the GPUs of this machine.
#include <cstdio>

#include "engine/gpu_backend.h"
#include "test/cuda_devices.h"

const std::vector<whittle::GpuDevice*>& whittle::test::cuda_devices() {
  static const std::vector<GpuDevice*> devices = [] {
    std::vector<GpuDevice*> found;
    for (const GpuInfo& info : gpu_support().devices)
      if (info.capability >= 80) found.push_back(&gpu_device(info.index));
    if (found.empty())
      throw Error("UNSUPPORTED", "Expected a GPU of compute capability 8.0 or later but " +
                                     (gpu_support().devices.empty() ? gpu_support().problem : "all are older"));
    return found;
  }();
  return devices;
}

TEST(cuda_device, there_is_one) {
  if (whittle::gpu_support().devices.empty()) WHITTLE_FAIL("no GPU to test on: " << whittle::gpu_support().problem);
  for (const whittle::GpuInfo& info : whittle::gpu_support().devices)
    std::printf("cuda:%d %s, sm_%d, %d multiprocessors\n", info.index, info.name.c_str(), info.capability,
                info.multiprocessors);
}
