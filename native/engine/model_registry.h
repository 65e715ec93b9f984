// Packed models of this process, so that engines of several environments share one copy of the weights.
#pragma once

#include <functional>
#include <memory>

#include "engine/cuda_executor.h"
#include "engine/packed_model.h"

namespace whittle {

// The packed model of these files (device, inode, size, time of change), tensors, precision and ISA: the one that an
// engine holds, or a new one. Callers that ask for the same model at once wait for one packing. Thread safe.
// Throws as PackedModel's constructor.
std::shared_ptr<const PackedModel> shared_model(const ModelSpec& spec, const KernelTable& kernels, int threads,
                                                const std::function<void()>& check);

// The same for GPUs: `device` as parse_gpus reads it. Throws as parse_gpus, gpu_device and CudaEngine's constructor.
std::shared_ptr<CudaEngine> shared_cuda_engine(const ModelSpec& spec, const std::string& device,
                                               const KernelTable& kernels, int threads,
                                               const std::function<void()>& check);

}  // namespace whittle
