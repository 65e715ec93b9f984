#include "engine/gpu_backend.h"

#include <algorithm>
#include <map>
#include <mutex>

#if defined(WHITTLE_CUDA)
#include "engine/cuda_device.h"
#endif

namespace whittle {

namespace {

constexpr int kOldestCapability = 80;

std::string version_name(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

std::string driver_problem(const DriverAnswer& driver) {
  if (driver.driver_version == 0) return "no NVIDIA driver was found";
  if (driver.state == DriverAnswer::too_old || driver.driver_version / 1000 < driver.runtime_version / 1000)
    return "the NVIDIA driver is too old: it serves CUDA " + version_name(driver.driver_version) +
           " and this build needs " + version_name(driver.runtime_version / 1000 * 1000) + " (driver 580 or later)";
  if (driver.state == DriverAnswer::fails) return "the NVIDIA driver does not answer: " + driver.failure;
  if (driver.state == DriverAnswer::no_gpu || driver.gpus == 0)
    return "the NVIDIA driver shows no GPU (CUDA_VISIBLE_DEVICES may hide it)";
  return "";
}

void require_gpu(const GpuSupport& support, int index) {
  if (support.devices.empty())
    throw Error("UNSUPPORTED", "Expected a GPU for device cuda:" + std::to_string(index) + " but " + support.problem);
  const int count = static_cast<int>(support.devices.size());
  if (index >= count)
    throw Error("UNSUPPORTED", "Expected a device from cuda:0 to cuda:" + std::to_string(count - 1) +
                                   " but found cuda:" + std::to_string(index));
}

void require_capability(const GpuInfo& gpu) {
  if (gpu.capability < kOldestCapability)
    throw Error("UNSUPPORTED", "Expected a GPU of compute capability 8.0 or later but cuda:" +
                                   std::to_string(gpu.index) + " (" + gpu.name + ") has " +
                                   std::to_string(gpu.capability / 10) + "." + std::to_string(gpu.capability % 10));
}

const GpuSupport& gpu_support() {
  // Never destroyed: threads may ask while the process exits.
  static const GpuSupport& support = *[] {
#if defined(WHITTLE_CUDA)
    return new GpuSupport(find_cuda_devices());
#else
    auto* none = new GpuSupport;
    none->problem = "this build of whittle has no CUDA kernels";
    return none;
#endif
  }();
  return support;
}

GpuDevice& gpu_device(int index) {
  const GpuSupport& support = gpu_support();
  require_gpu(support, index);
  // Never destroyed: engines may be released while the process exits.
  static std::mutex& mutex = *new std::mutex;
  static auto& devices = *new std::map<int, std::unique_ptr<GpuDevice>>;
  const std::lock_guard lock(mutex);
  std::unique_ptr<GpuDevice>& device = devices[index];
#if defined(WHITTLE_CUDA)
  if (!device) device = make_cuda_device(support.devices[static_cast<size_t>(index)]);
#endif
  return *device;
}

std::vector<int> parse_gpus(const std::string& device) {
  const auto refuse = [&] {
    throw Error("BAD_OPTION",
                "Expected device cpu, cuda, cuda:N or several such as cuda:0,cuda:1 but found \"" + device + "\"");
  };
  if (device == "cuda") return {0};
  std::vector<int> found;
  for (size_t at = 0; at <= device.size();) {
    const size_t end = std::min(device.find(',', at), device.size());
    const std::string one = device.substr(at, end - at);
    const bool digits = one.size() > 5 && one.size() < 9 && one.find_first_not_of("0123456789", 5) == std::string::npos;
    if (one.compare(0, 5, "cuda:") != 0 || !digits) refuse();
    const int index = std::stoi(one.substr(5));
    if (std::find(found.begin(), found.end(), index) != found.end()) refuse();
    found.push_back(index);
    at = end + 1;
  }
  return found;
}

}  // namespace whittle
