#include <memory>

#include "addon/async_task.h"
#include "addon/stored_parameters.h"

namespace whittle {

namespace {

// readParameters(parameters, abort?): Promise<Float32Array[]>
Napi::Value read_parameters(const Napi::CallbackInfo& info) {
  const Napi::Array list = array(info[0], "parameters");
  std::vector<StoredParameter> parameters;
  for (uint32_t i = 0; i < list.Length(); ++i) parameters.push_back(stored_parameter(list.Get(i), "parameters"));
  // The arrays belong to JavaScript from the start, so that nothing is copied; the task keeps them alive.
  std::vector<float*> outputs;
  Napi::Array arrays = Napi::Array::New(info.Env(), parameters.size());
  for (uint32_t i = 0; i < parameters.size(); ++i) {
    Napi::Float32Array one = new_array<float>(info.Env(), static_cast<size_t>(parameters[i].tensor.elements()));
    outputs.push_back(one.Data());
    arrays.Set(i, one);
  }
  auto kept = std::make_shared<Napi::ObjectReference>(Napi::Persistent(arrays.As<Napi::Object>()));
  TaskOptions options;
  options.abort = info[1];
  struct Done {};
  return AsyncTask<Done>::start(
      info.Env(), "readParameters",
      [parameters = std::move(parameters), outputs = std::move(outputs)](TaskControl& control) {
        TensorReader reader;
        for (size_t i = 0; i < parameters.size(); ++i) {
          control.throw_if_aborted();
          reader.read_parameter(parameters[i], outputs[i]);
        }
        return Done{};
      },
      [kept](Napi::Env, Done&) { return kept->Value(); }, options);
}

// writeTensors(file, header, tensors, abort?): Promise<void>
Napi::Value write_tensors_glue(const Napi::CallbackInfo& info) {
  const std::string file = text(info[0], "file");
  const Elements<uint8_t> header = elements<uint8_t>(info[1], "header");
  const Napi::Array list = array(info[2], "tensors");
  TaskOptions options;
  options.abort = info[3];
  options.keep = {info[1]};
  std::vector<TensorToWrite> tensors;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Object one = object(list.Get(i), "tensors");
    TensorToWrite tensor{text(one.Get("name"), "name"), Dtype::f32, nullptr, nullptr, 0};
    const std::string dtype = text(one.Get("dtype"), "dtype");
    if (!parse_dtype(dtype, &tensor.dtype))
      throw Error("BAD_OPTION", "Expected F32, F16, BF16 or I8 for dtype but received " + dtype);
    if (tensor.dtype == Dtype::i8) {
      const Elements<int8_t> data = elements<int8_t>(one.Get("data"), "data");
      tensor.bytes = data.data;
      tensor.elements = data.count;
    } else {
      const Elements<float> data = elements<float>(one.Get("data"), "data");
      tensor.floats = data.data;
      tensor.elements = data.count;
    }
    options.keep.push_back(one.Get("data"));
    tensors.push_back(std::move(tensor));
  }
  struct Done {};
  return AsyncTask<Done>::start(
      info.Env(), "writeTensors",
      [file, header, tensors = std::move(tensors)](TaskControl& control) {
        write_tensors(file, header.data, header.count, tensors, [&control] { control.throw_if_aborted(); });
        return Done{};
      },
      [](Napi::Env env, Done&) { return env.Undefined(); }, options);
}

}  // namespace

StoredTensor stored_tensor(const Napi::Value& value, const char* name) {
  const Napi::Object one = object(value, name);
  StoredTensor tensor;
  tensor.name = text(one.Get("name"), "name");
  tensor.file = text(one.Get("file"), "file");
  const std::string dtype = text(one.Get("dtype"), "dtype");
  if (!parse_dtype(dtype, &tensor.dtype))
    throw Error("UNSUPPORTED",
                tensor.file + ": tensor " + tensor.name + ": expected dtype F32, F16, BF16 or I8 but found " + dtype);
  tensor.shape = integers(one.Get("shape"), "shape");
  tensor.offset = integer(one.Get("offset"), "offset", 0);
  tensor.bytes = integer(one.Get("bytes"), "bytes", 0);
  return tensor;
}

StoredParameter stored_parameter(const Napi::Value& value, const char* name) {
  const Napi::Object one = object(value, name);
  StoredParameter parameter;
  parameter.tensor = stored_tensor(one.Get("tensor"), "tensor");
  const Napi::Value scale = one.Get("scale");
  parameter.has_scale = !scale.IsUndefined();
  if (parameter.has_scale) parameter.scale = stored_tensor(scale, "scale");
  return parameter;
}

void add_formats_glue(Napi::Env, Napi::Object exports) {
  export_function<read_parameters>(exports, "readParameters");
  export_function<write_tensors_glue>(exports, "writeTensors");
}

}  // namespace whittle
