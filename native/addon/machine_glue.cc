// What this machine offers, and how many threads whittle takes of it.
#include <cstdlib>

#include "addon/arguments.h"
#include "addon/glue.h"
#include "cpu/cpu_info.h"
#include "cpu/thread_pool.h"
#include "engine/gpu_backend.h"
#include "kernels/kernel_table.h"

namespace whittle {

namespace {

Napi::Array usable_isas(Napi::Env env) {
  Napi::Array names = Napi::Array::New(env);
  for (int i = 0; i < kIsaCount; ++i) {
    if (cpu_info().supports(static_cast<Isa>(i))) names.Set(names.Length(), isa_name(static_cast<Isa>(i)));
  }
  return names;
}

Napi::Value machine_info(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const CpuInfo& cpu = cpu_info();
  const char* forced = std::getenv("WHITTLE_ISA");
  Napi::Object features = Napi::Object::New(env);
  features.Set("avx2", cpu.avx2);
  features.Set("avxvnni", cpu.avxvnni);
  features.Set("avx512", cpu.avx512);
  features.Set("avx512Vnni", cpu.avx512_vnni);
  features.Set("avx512Bf16", cpu.avx512_bf16);
  features.Set("amxInt8", cpu.amx_int8);
  features.Set("amxBf16", cpu.amx_bf16);
  Napi::Object caches = Napi::Object::New(env);
  caches.Set("l1d", static_cast<double>(cpu.l1d_bytes));
  caches.Set("l2", static_cast<double>(cpu.l2_bytes));
  caches.Set("l3", static_cast<double>(cpu.l3_bytes));
  Napi::Object result = Napi::Object::New(env);
  result.Set("vendor", cpu.vendor);
  result.Set("model", cpu.model);
  result.Set("isa", isa_name(kernels().isa));
  result.Set("isaFrom", forced && *forced ? "WHITTLE_ISA" : "detected");
  result.Set("isas", usable_isas(env));
  result.Set("nativeBf16", kernels().native_bf16);
  result.Set("features", features);
  result.Set("amxNote", cpu.amx_note);
  result.Set("logicalCpus", cpu.logical_cpus);
  result.Set("affinityCpus", cpu.affinity_cpus);
  result.Set("affinityCores", cpu.affinity_cores);
  result.Set("cgroupCpus", cpu.cgroup_cpus);
  result.Set("defaultThreads", cpu.threads);
  result.Set("threads", ThreadPool::instance().default_threads());
  result.Set("cacheBytes", caches);
  return result;
}

Napi::Value set_threads(const Napi::CallbackInfo& info) {
  constexpr int64_t kMost = 1024;
  ThreadPool::instance().set_default_threads(static_cast<int>(integer(info[0], "threads", 0, kMost)));
  return Napi::Number::New(info.Env(), ThreadPool::instance().default_threads());
}

// gpuInfo(): GpuSupport
Napi::Value gpu_info(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const GpuSupport& support = gpu_support();
  Napi::Array devices = Napi::Array::New(env);
  for (const GpuInfo& one : support.devices) {
    Napi::Object device = Napi::Object::New(env);
    device.Set("index", one.index);
    device.Set("name", one.name);
    device.Set("capability", one.capability);
    device.Set("multiprocessors", one.multiprocessors);
    device.Set("memoryBytes", static_cast<double>(one.memory_bytes));
    devices.Set(devices.Length(), device);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("built", support.built);
  result.Set("driverVersion", support.driver_version);
  result.Set("runtimeVersion", support.runtime_version);
  result.Set("problem", support.problem);
  result.Set("devices", devices);
  return result;
}

}  // namespace

void add_machine_glue(Napi::Env, Napi::Object exports) {
  export_function<machine_info>(exports, "machineInfo");
  export_function<set_threads>(exports, "setThreads");
  export_function<gpu_info>(exports, "gpuInfo");
}

}  // namespace whittle
