// What the CUDA executor needs of a GPU: memory, streams, copies, graphs and kernels. Implemented by the CUDA runtime
// (cuda_device.cu) and, for machines without a GPU, by the shim in native/test.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cpu/error.h"
#include "kernels/cuda/kernel_table.h"

namespace whittle {

// The GPU has no memory left for what was asked: a smaller batch may fit.
class GpuOutOfMemory : public Error {
 public:
  explicit GpuOutOfMemory(const std::string& message) : Error("DEVICE", message) {}
};

struct GpuInfo {
  int index = 0;  // among those that CUDA_VISIBLE_DEVICES leaves
  std::string name;
  int capability = 0;  // 10 * major + minor
  int multiprocessors = 0;
  int64_t memory_bytes = 0;
};

using GpuGraph = void*;

// Calls from several threads are fine as long as each uses streams of its own. All throw Error DEVICE if the GPU is
// lost.
class GpuDevice {
 public:
  virtual ~GpuDevice() = default;
  virtual const GpuInfo& info() const = 0;
  virtual const cuda::KernelTable& kernels() const = 0;

  virtual int64_t free_memory() = 0;
  virtual void* allocate(int64_t bytes) = 0;  // 256-byte aligned at least; throws GpuOutOfMemory
  virtual void release(void* memory) noexcept = 0;
  virtual void* allocate_pinned(int64_t bytes) = 0;  // of the host
  virtual void release_pinned(void* memory) noexcept = 0;

  virtual cuda::Stream create_stream() = 0;
  virtual void destroy_stream(cuda::Stream stream) noexcept = 0;
  virtual void upload(void* to, const void* from, int64_t bytes, cuda::Stream stream) = 0;
  virtual void download(void* to, const void* from, int64_t bytes, cuda::Stream stream) = 0;
  virtual void synchronize(cuda::Stream stream) = 0;

  // What `work` enqueues, to be run as a whole as often as one likes.
  virtual GpuGraph capture(cuda::Stream stream, const std::function<void()>& work) = 0;
  virtual void launch(GpuGraph graph, cuda::Stream stream) = 0;
  virtual void destroy(GpuGraph graph) noexcept = 0;
};

// Memory of a device that is given back with the object.
class GpuBuffer {
 public:
  GpuBuffer() = default;
  GpuBuffer(GpuDevice& device, int64_t bytes) : device_(&device), bytes_(bytes) {
    if (bytes > 0) data_ = device.allocate(bytes);
  }
  GpuBuffer(GpuBuffer&& other) noexcept { *this = std::move(other); }
  GpuBuffer& operator=(GpuBuffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~GpuBuffer() {
    if (data_) device_->release(data_);
  }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  int64_t bytes() const { return bytes_; }

 private:
  GpuDevice* device_ = nullptr;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace whittle
