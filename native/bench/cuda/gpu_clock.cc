#include "bench/cuda/gpu_clock.h"

#include <cuda_runtime_api.h>

#include <fstream>
#include <sstream>

#include "cpu/error.h"

namespace whittle::bench {

namespace {

void check(cudaError_t error, const char* doing) {
  if (error != cudaSuccess) throw Error("DEVICE", std::string(doing) + ": " + cudaGetErrorString(error));
}

}  // namespace

GpuFacts gpu_facts(const GpuInfo& gpu) {
  GpuFacts facts;
  int bytes = 0;
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, gpu.index), "asking for the cache's size");
  facts.l2_bytes = bytes;
  check(cudaDriverGetVersion(&facts.cuda_version), "asking for the driver's version");
  // NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  ...
  std::ifstream in("/proc/driver/nvidia/version");
  std::string line;
  std::getline(in, line);
  std::istringstream words(line);
  for (std::string word; facts.driver.empty() && words >> word;) {
    const bool is_version = word.find_first_not_of("0123456789.") == std::string::npos;
    if (is_version && word.find('.') != std::string::npos) facts.driver = word;
  }
  return facts;
}

double launch_us(GpuDevice& device, GpuGraph graph, cuda::Stream stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin), "making an event");
  check(cudaEventCreate(&end), "making an event");
  check(cudaEventRecord(begin, on), "recording an event");
  device.launch(graph, stream);
  check(cudaEventRecord(end, on), "recording an event");
  device.synchronize(stream);
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin, end), "reading events");
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return 1000.0 * milliseconds;
}

void copy_on_device(void* to, const void* from, int64_t bytes, cuda::Stream stream) {
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice,
                        static_cast<cudaStream_t>(stream)),
        "copying");
}

}  // namespace whittle::bench
