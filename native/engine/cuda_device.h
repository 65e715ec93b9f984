// GPUs through the CUDA runtime, which is linked statically: nothing but the driver must be there.
#pragma once

#include <memory>

#include "engine/gpu_backend.h"

namespace whittle {

GpuSupport find_cuda_devices();
// Throws Error DEVICE.
std::unique_ptr<GpuDevice> make_cuda_device(const GpuInfo& info);

}  // namespace whittle
