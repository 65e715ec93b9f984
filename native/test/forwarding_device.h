// A GPU that hands everything on to another: what a test or benchmark wants different it overrides.
#pragma once

#include "engine/gpu_device.h"

namespace whittle::test {

class ForwardingDevice : public GpuDevice {
 public:
  explicit ForwardingDevice(GpuDevice& device) : device_(device) {}

  const GpuInfo& info() const override { return device_.info(); }
  const cuda::KernelTable& kernels() const override { return device_.kernels(); }
  int64_t free_memory() override { return device_.free_memory(); }
  void* allocate(int64_t bytes) override { return device_.allocate(bytes); }
  void release(void* memory) noexcept override { device_.release(memory); }
  void* allocate_pinned(int64_t bytes) override { return device_.allocate_pinned(bytes); }
  void release_pinned(void* memory) noexcept override { device_.release_pinned(memory); }
  cuda::Stream create_stream() override { return device_.create_stream(); }
  void destroy_stream(cuda::Stream stream) noexcept override { device_.destroy_stream(stream); }
  void upload(void* to, const void* from, int64_t bytes, cuda::Stream stream) override {
    device_.upload(to, from, bytes, stream);
  }
  void download(void* to, const void* from, int64_t bytes, cuda::Stream stream) override {
    device_.download(to, from, bytes, stream);
  }
  void synchronize(cuda::Stream stream) override { device_.synchronize(stream); }
  GpuGraph capture(cuda::Stream stream, const std::function<void()>& work) override {
    return device_.capture(stream, work);
  }
  void launch(GpuGraph graph, cuda::Stream stream) override { device_.launch(graph, stream); }
  void destroy(GpuGraph graph) noexcept override { device_.destroy(graph); }

 private:
  GpuDevice& device_;
};

}  // namespace whittle::test
