#include <memory>

#include "addon/async_task.h"
#include "addon/glue.h"
#include "compress/compensated_rounding.h"
#include "compress/cuda_compress.h"
#include "compress/magnitude.h"
#include "compress/quantize_weight.h"
#include "engine/gpu_backend.h"

namespace whittle {

namespace {

int thread_count(const Napi::Value& value) {
  const int64_t threads = integer(value, "threads", 0, 4096);
  return threads ? static_cast<int>(threads) : ThreadPool::instance().default_threads();
}

struct Scratch {
  Arena arena;
  Context context;
  explicit Scratch(int threads) : context{kernels(), ThreadPool::instance(), threads, arena} {}
};

std::string device_name(const Napi::Value& value) {
  return value.IsUndefined() ? "cpu" : text(value, "device");
}
// The GPU of that name, the first if there are several; null for the CPU. May take a while.
GpuDevice* gpu_of(const std::string& device) {
  return device == "cpu" ? nullptr : &gpu_device(parse_gpus(device).front());
}

struct MagnitudeMasks {
  MagnitudeCut cut;
  std::vector<std::unique_ptr<std::vector<uint8_t>>> masks;
  std::vector<int64_t> zeros;
};

Napi::Value finish_masks(Napi::Env env, MagnitudeMasks& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("threshold", result.cut.threshold);
  Napi::Array masks = Napi::Array::New(env, result.masks.size());
  Napi::Array zeros = Napi::Array::New(env, result.masks.size());
  for (uint32_t t = 0; t < result.masks.size(); ++t) {
    std::vector<uint8_t>& mask = *result.masks[t];
    Napi::Uint8Array copy = new_array<uint8_t>(env, mask.size());
    std::copy(mask.begin(), mask.end(), copy.Data());
    masks.Set(t, copy);
    zeros.Set(t, static_cast<double>(result.zeros[t]));
  }
  object.Set("masks", masks);
  object.Set("zeros", zeros);
  return object;
}

// magnitudeMasks(names, tensors, cut, threads, abort, device)
Napi::Value magnitude_masks_of(const Napi::CallbackInfo& info) {
  const Napi::Array names = array(info[0], "names");
  const Napi::Array values = array(info[1], "tensors");
  if (names.Length() != values.Length()) throw Error("BAD_OPTION", "Expected as many names as tensors");
  TaskOptions options;
  options.abort = info[4];
  std::vector<MagnitudeTensor> tensors;
  for (uint32_t t = 0; t < values.Length(); ++t) {
    const Napi::Value value = values[t];
    const Elements<float> tensor = elements<float>(value, "tensors");
    tensors.push_back({text(names[t], "names"), tensor.data, tensor.count});
    options.keep.push_back(value);
  }
  const int64_t cut_count = integer(info[2], "cut", 0);
  const int threads = thread_count(info[3]);
  const std::string device = device_name(info[5]);
  return AsyncTask<MagnitudeMasks>::start(
      info.Env(), "magnitudeMasks",
      [tensors, cut_count, threads, device](TaskControl& control) {
        GpuDevice* gpu = gpu_of(device);
        Scratch scratch(threads);
        MagnitudeMasks result;
        const std::function<void()> check = [&control] { control.throw_if_aborted(); };
        std::unique_ptr<CudaMagnitudes> on_gpu;
        if (gpu) on_gpu = std::make_unique<CudaMagnitudes>(*gpu, tensors, check);
        result.cut = on_gpu ? on_gpu->cut(cut_count) : magnitude_cut(tensors, cut_count, scratch.context);
        check();
        std::vector<uint8_t*> masks;
        for (const MagnitudeTensor& tensor : tensors) {
          result.masks.push_back(std::make_unique<std::vector<uint8_t>>(tensor.count));
          masks.push_back(result.masks.back()->data());
        }
        if (on_gpu)
          on_gpu->masks(result.cut, masks);
        else
          magnitude_masks(tensors, result.cut, masks, scratch.context);
        for (size_t t = 0; t < tensors.size(); ++t)
          result.zeros.push_back(masked_count(masks[t], tensors[t].count, scratch.context));
        return result;
      },
      finish_masks, options);
}

// applyMask(values, mask)
Napi::Value apply_mask_to(const Napi::CallbackInfo& info) {
  const Elements<float> values = elements<float>(info[0], "values");
  const Elements<uint8_t> mask = elements<uint8_t>(info[1], "mask", values.count);
  kernels().apply_mask(values.data, mask.data, values.count);
  return info.Env().Undefined();
}

struct QuantizedRows {
  std::vector<int8_t> values;
  std::vector<float> scales;
  QuantizedWeight weight;
};

Napi::Value finish_quantized(Napi::Env env, QuantizedRows& result) {
  Napi::Int8Array values = new_array<int8_t>(env, result.values.size());
  std::copy(result.values.begin(), result.values.end(), values.Data());
  Napi::Float32Array scales = new_array<float>(env, result.scales.size());
  std::copy(result.scales.begin(), result.scales.end(), scales.Data());
  Napi::Object object = Napi::Object::New(env);
  object.Set("values", values);
  object.Set("scales", scales);
  object.Set("relativeError", result.weight.relative_error);
  return object;
}

// quantizeWeight(name, values, gram, rows, columns, threads, abort, device)
Napi::Value quantize_weight_of(const Napi::CallbackInfo& info) {
  const std::string name = text(info[0], "name");
  const int64_t rows = integer(info[3], "rows", 0, int64_t{1} << 31);
  const int64_t columns = integer(info[4], "columns", 0, int64_t{1} << 31);
  const Elements<float> weight = elements<float>(info[1], "values", rows * columns);
  const bool compensated = !info[2].IsUndefined();
  const Elements<float> gram = compensated ? elements<float>(info[2], "gram", columns * columns) : Elements<float>{};
  const int threads = thread_count(info[5]);
  const std::string device = compensated ? "cpu" : device_name(info[7]);
  TaskOptions options;
  options.abort = info[6];
  options.keep = {info[1], info[2]};
  return AsyncTask<QuantizedRows>::start(
      info.Env(), "quantizeWeight",
      [name, weight, gram, rows, columns, compensated, threads, device](TaskControl& control) {
        GpuDevice* gpu = gpu_of(device);
        Scratch scratch(threads);
        QuantizedRows result{std::vector<int8_t>(rows * columns), std::vector<float>(rows), {}};
        int8_t* values = result.values.data();
        float* scales = result.scales.data();
        if (gpu) {
          const std::function<void()> check = [&control] { control.throw_if_aborted(); };
          result.weight = quantize_weight_on_gpu(*gpu, name, weight.data, rows, columns, values, scales, check);
          return result;
        }
        result.weight = compensated
                            ? quantize_weight_compensated(name, weight.data, gram.data, rows, columns, values, scales,
                                                          scratch.context)
                            : quantize_weight(name, weight.data, rows, columns, values, scales, scratch.context);
        return result;
      },
      finish_quantized, options);
}

}  // namespace

void add_compress_glue(Napi::Env, Napi::Object exports) {
  export_function<magnitude_masks_of>(exports, "magnitudeMasks");
  export_function<apply_mask_to>(exports, "applyMask");
  export_function<quantize_weight_of>(exports, "quantizeWeight");
}

}  // namespace whittle
