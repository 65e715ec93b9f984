// The GPUs of this machine, as this build sees them.
#pragma once

#include <string>
#include <vector>

#include "engine/gpu_device.h"

namespace whittle {

struct GpuSupport {
  bool built = false;            // with CUDA kernels
  int driver_version = 0;        // 1000 * major + 10 * minor of the CUDA that the driver serves; 0: no driver
  int runtime_version = 0;       // that this build needs
  std::vector<GpuInfo> devices;  // those that CUDA_VISIBLE_DEVICES leaves
  std::string problem;           // why there is none; empty if there is one
};

// What a driver says of itself and its GPUs.
struct DriverAnswer {
  int driver_version = 0, runtime_version = 0;  // as in GpuSupport
  enum { answers, too_old, no_gpu, fails } state = answers;
  std::string failure;  // if it fails
  int gpus = 0;
};
// Why none of its GPUs can be used, in words that follow "but"; empty if they can.
std::string driver_problem(const DriverAnswer& driver);
// Throw Error UNSUPPORTED if there is no GPU of that index, or if the GPU is older than the kernels are made for.
void require_gpu(const GpuSupport& support, int index);
void require_capability(const GpuInfo& gpu);

// Asked once a process.
const GpuSupport& gpu_support();

// GPU `index`, the same object each time. Throws Error UNSUPPORTED if there is none of that index, DEVICE if it does
// not answer.
GpuDevice& gpu_device(int index);

// What `device` names: "cuda" is GPU 0, "cuda:N" one, "cuda:0,cuda:1" several. Throws Error BAD_OPTION for a spelling
// that is none of these, or a GPU named twice.
std::vector<int> parse_gpus(const std::string& device);

}  // namespace whittle
