// A GPU that is not there: the kernels run as C++ on the calling thread, when their stream is synchronized.
#pragma once

#include <atomic>
#include <memory>

#include "engine/gpu_device.h"

namespace whittle::test {

// `capability` chooses the kernels: 80 (mma.sync) or 90 (wgmma). Allocations beyond `memory_bytes` in all fail.
std::unique_ptr<GpuDevice> make_shim_device(int capability, int64_t memory_bytes = int64_t{4} << 30);

// The next synchronization of this device fails as if the GPU were lost.
void lose_device(GpuDevice& device);

}  // namespace whittle::test
