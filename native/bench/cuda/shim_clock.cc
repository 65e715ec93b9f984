// The benchmark on the shim: its figures mean nothing, but every line of it runs.
#include <chrono>
#include <cstring>

#include "bench/cuda/gpu_clock.h"

namespace whittle::cuda::shim {
void enqueue(Stream stream, std::function<void()> work);
}

namespace whittle::bench {

GpuFacts gpu_facts(const GpuInfo&) {
  return {1 << 20, "", 0};
}

double launch_us(GpuDevice& device, GpuGraph graph, cuda::Stream stream) {
  const auto begin = std::chrono::steady_clock::now();
  device.launch(graph, stream);
  device.synchronize(stream);
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

void copy_on_device(void* to, const void* from, int64_t bytes, cuda::Stream stream) {
  cuda::shim::enqueue(stream, [=] { std::memcpy(to, from, static_cast<size_t>(bytes)); });
}

double launch_int8_peak(const GpuInfo&, int32_t*, cuda::Stream) {
  return 0;
}

}  // namespace whittle::bench
