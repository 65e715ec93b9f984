#include "engine/cuda_device.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include "kernels/cuda/launch_error.h"

namespace whittle {

namespace {

// The runtime keeps the last error until somebody asks for it, who would take it for an error of his own.
void forget(cudaError_t error) noexcept {
  if (error != cudaSuccess) cudaGetLastError();
}

// Node unloads an addon when the last worker_threads environment that loaded it ends; threads that used the runtime,
// which is linked into the addon, would then end in unmapped code.
void keep_code_loaded() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&keep_code_loaded), &info) && info.dli_fname)
    dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

class CudaDevice : public GpuDevice {
 public:
  explicit CudaDevice(const GpuInfo& info) : info_(info) {
    free_memory();  // creates the context, so that a GPU that does not answer is told here
    kernels_ = cuda::make_kernel_table({info.capability, info.multiprocessors});
  }
  const GpuInfo& info() const override { return info_; }
  const cuda::KernelTable& kernels() const override { return kernels_; }

  int64_t free_memory() override {
    use();
    size_t free = 0, all = 0;
    check(cudaMemGetInfo(&free, &all), "asking for its memory");
    return static_cast<int64_t>(free);
  }
  void* allocate(int64_t bytes) override {
    use();
    void* data = nullptr;
    const cudaError_t error = cudaMalloc(&data, static_cast<size_t>(bytes));
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw GpuOutOfMemory(name() + " has no memory left for " + std::to_string(bytes >> 20) + " MiB more");
    }
    check(error, "allocating memory");
    return data;
  }
  void release(void* memory) noexcept override {
    forget(cudaSetDevice(info_.index));
    forget(cudaFree(memory));
  }
  void* allocate_pinned(int64_t bytes) override {
    use();
    void* data = nullptr;
    check(cudaMallocHost(&data, static_cast<size_t>(bytes)), "allocating memory of the host");
    return data;
  }
  void release_pinned(void* memory) noexcept override {
    forget(cudaSetDevice(info_.index));
    forget(cudaFreeHost(memory));
  }

  cuda::Stream create_stream() override {
    use();
    cudaStream_t stream;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
    return stream;
  }
  void destroy_stream(cuda::Stream stream) noexcept override {
    forget(cudaSetDevice(info_.index));
    forget(cudaStreamDestroy(static_cast<cudaStream_t>(stream)));
  }
  void upload(void* to, const void* from, int64_t bytes, cuda::Stream stream) override {
    use();
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice,
                          static_cast<cudaStream_t>(stream)),
          "copying to it");
  }
  void download(void* to, const void* from, int64_t bytes, cuda::Stream stream) override {
    use();
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost,
                          static_cast<cudaStream_t>(stream)),
          "copying from it");
  }
  void synchronize(cuda::Stream stream) override {
    use();
    check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "running kernels");
  }

  GpuGraph capture(cuda::Stream stream, const std::function<void()>& work) override {
    use();
    const auto on = static_cast<cudaStream_t>(stream);
    // Relaxed, since the first launch of a kernel may load it, which other modes could refuse.
    check(cudaStreamBeginCapture(on, cudaStreamCaptureModeRelaxed), "capturing a graph");
    cudaGraph_t graph = nullptr;
    try {
      work();
    } catch (const cuda::LaunchError& error) {
      drop_capture(on);
      if (error.out_of_memory()) throw GpuOutOfMemory(name() + " has no memory left for a kernel's code");
      throw;
    } catch (...) {
      drop_capture(on);
      throw;
    }
    check(cudaStreamEndCapture(on, &graph), "capturing a graph");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    forget(cudaGraphDestroy(graph));
    check(error, "making a graph");
    return executable;
  }
  void launch(GpuGraph graph, cuda::Stream stream) override {
    use();
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), static_cast<cudaStream_t>(stream)), "launching a graph");
  }
  void destroy(GpuGraph graph) noexcept override {
    forget(cudaSetDevice(info_.index));
    forget(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)));
  }

 private:
  std::string name() const { return "cuda:" + std::to_string(info_.index) + " (" + info_.name + ")"; }
  static void drop_capture(cudaStream_t stream) noexcept {
    cudaGraph_t graph = nullptr;
    forget(cudaStreamEndCapture(stream, &graph));
    if (graph) forget(cudaGraphDestroy(graph));
  }
  void use() const { check(cudaSetDevice(info_.index), "using it"); }
  // An error of a kernel stays with the process: whatever is asked of the GPU later fails too.
  void check(cudaError_t error, const char* doing) const {
    if (error == cudaSuccess) return;
    cudaGetLastError();
    if (error == cudaErrorMemoryAllocation) throw GpuOutOfMemory(name() + " has no memory left (" + doing + ")");
    throw Error("DEVICE", name() + " was lost while " + doing + ": " + cudaGetErrorString(error) +
                              "; start the process again, or use device cpu");
  }

  GpuInfo info_;
  cuda::KernelTable kernels_;
};

}  // namespace

GpuSupport find_cuda_devices() {
  GpuSupport support;
  support.built = true;
  keep_code_loaded();
  forget(cudaRuntimeGetVersion(&support.runtime_version));
  forget(cudaDriverGetVersion(&support.driver_version));
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  forget(error);
  DriverAnswer answer;
  answer.driver_version = support.driver_version;
  answer.runtime_version = support.runtime_version;
  answer.gpus = error == cudaSuccess ? count : 0;
  answer.state = error == cudaSuccess                   ? DriverAnswer::answers
                 : error == cudaErrorInsufficientDriver ? DriverAnswer::too_old
                 : error == cudaErrorNoDevice           ? DriverAnswer::no_gpu
                                                        : DriverAnswer::fails;
  answer.failure = cudaGetErrorString(error);
  support.problem = driver_problem(answer);
  if (!support.problem.empty()) return support;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (const cudaError_t failure = cudaGetDeviceProperties(&properties, i); failure != cudaSuccess) {
      forget(failure);
      support.devices.push_back({i, cudaGetErrorString(failure), 0, 0, 0});  // keeps its number, and is refused
      continue;
    }
    const int capability = 10 * properties.major + properties.minor;
    support.devices.push_back({i, properties.name, capability, properties.multiProcessorCount,
                               static_cast<int64_t>(properties.totalGlobalMem)});
  }
  return support;
}

std::unique_ptr<GpuDevice> make_cuda_device(const GpuInfo& info) {
  require_capability(info);
  return std::make_unique<CudaDevice>(info);
}

}  // namespace whittle
