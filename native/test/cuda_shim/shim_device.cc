#include "test/cuda_shim/shim_device.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "test/cuda_devices.h"
#include "test/cuda_shim/fibers.h"

namespace whittle::cuda::shim {
void enqueue(Stream stream, std::function<void()> work);
}

namespace whittle {

namespace {

using Work = std::vector<std::function<void()>>;

struct ShimStream {
  Work queue;
  Work* captured = nullptr;  // while a graph is captured
};

// One block runs at a time, in whatever thread.
std::mutex running;

class ShimDevice : public GpuDevice {
 public:
  ShimDevice(int capability, int64_t memory_bytes) : memory_(memory_bytes) {
    info_ = {0, "shim", capability, 3, memory_bytes};
    kernels_ = cuda::make_kernel_table({capability, info_.multiprocessors});
  }
  const GpuInfo& info() const override { return info_; }
  const cuda::KernelTable& kernels() const override { return kernels_; }

  int64_t free_memory() override { return memory_; }
  // Poisoned, with bytes behind that must stay as they are.
  void* allocate(int64_t bytes) override {
    const std::lock_guard lock(mutex_);
    if (bytes > memory_) throw GpuOutOfMemory("cuda:0 has no memory left for " + std::to_string(bytes) + " bytes");
    memory_ -= bytes;
    const size_t all = static_cast<size_t>(bytes) + kGuard;
    char* data = static_cast<char*>(std::aligned_alloc(1024, (all + 1023) / 1024 * 1024));
    std::memset(data, 0x7f, all);
    sizes_[data] = bytes;
    return data;
  }
  void release(void* data) noexcept override {
    const std::lock_guard lock(mutex_);
    const int64_t bytes = sizes_[data];
    for (size_t i = 0; i < kGuard; ++i)
      if (static_cast<char*>(data)[bytes + static_cast<int64_t>(i)] != 0x7f)
        cuda::shim::fault("a kernel wrote behind its memory");
    memory_ += bytes;
    sizes_.erase(data);
    std::free(data);
  }
  void* allocate_pinned(int64_t bytes) override { return std::malloc(static_cast<size_t>(bytes)); }
  void release_pinned(void* memory) noexcept override { std::free(memory); }

  cuda::Stream create_stream() override { return new ShimStream; }
  void destroy_stream(cuda::Stream stream) noexcept override { delete static_cast<ShimStream*>(stream); }
  void upload(void* to, const void* from, int64_t bytes, cuda::Stream stream) override {
    copy(to, from, bytes, stream);
  }
  void download(void* to, const void* from, int64_t bytes, cuda::Stream stream) override {
    copy(to, from, bytes, stream);
  }
  void synchronize(cuda::Stream stream) override {
    Work queue = std::move(static_cast<ShimStream*>(stream)->queue);
    static_cast<ShimStream*>(stream)->queue.clear();
    if (lost) throw Error("DEVICE", "cuda:0 (shim) was lost");
    const std::lock_guard lock(running);
    // The 99 KB of sm_86 and sm_89 for the kernels that run there too.
    cuda::shim::limit_shared_memory((info_.capability < 90 ? 99 : 227) << 10);
    for (const auto& work : queue) work();
  }

  GpuGraph capture(cuda::Stream stream, const std::function<void()>& work) override {
    auto graph = std::make_unique<Work>();
    static_cast<ShimStream*>(stream)->captured = graph.get();
    try {
      work();
    } catch (...) {
      static_cast<ShimStream*>(stream)->captured = nullptr;
      throw;
    }
    static_cast<ShimStream*>(stream)->captured = nullptr;
    return graph.release();
  }
  void launch(GpuGraph graph, cuda::Stream stream) override {
    for (const auto& work : *static_cast<Work*>(graph)) cuda::shim::enqueue(stream, work);
  }
  void destroy(GpuGraph graph) noexcept override { delete static_cast<Work*>(graph); }

  bool lost = false;

 private:
  static constexpr size_t kGuard = 256;

  static void copy(void* to, const void* from, int64_t bytes, cuda::Stream stream) {
    if (bytes > 0) cuda::shim::enqueue(stream, [=] { std::memcpy(to, from, static_cast<size_t>(bytes)); });
  }

  GpuInfo info_;
  cuda::KernelTable kernels_;
  std::mutex mutex_;
  std::map<void*, int64_t> sizes_;
  int64_t memory_;
};

}  // namespace

void cuda::shim::enqueue(Stream stream, std::function<void()> work) {
  auto* one = static_cast<ShimStream*>(stream);
  (one->captured ? *one->captured : one->queue).push_back(std::move(work));
}

std::unique_ptr<GpuDevice> test::make_shim_device(int capability, int64_t memory_bytes) {
  return std::make_unique<ShimDevice>(capability, memory_bytes);
}

void test::lose_device(GpuDevice& device) {
  static_cast<ShimDevice&>(device).lost = true;
}

const std::vector<GpuDevice*>& test::cuda_devices() {
  static const std::unique_ptr<GpuDevice> mma = make_shim_device(80), wgmma = make_shim_device(90);
  static const std::vector<GpuDevice*> devices = {mma.get(), wgmma.get()};
  return devices;
}

}  // namespace whittle
