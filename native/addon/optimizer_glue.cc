// The optimizers beside AdamW, and what else goes over all parameters of a training step. Synchronous.
#include <string>
#include <vector>

#include "addon/glue.h"
#include "addon/training_arguments.h"
#include "ops/adafactor.h"
#include "ops/clip_by_value.h"
#include "ops/lion.h"
#include "ops/moving_average.h"
#include "ops/sgd.h"

namespace whittle {

namespace {

// One Tensor for each entry of the list: read(entry). Refusals name the entry.
template <typename Tensor, typename Read>
std::vector<Tensor> read_tensors(const Napi::Value& value, const Read& read) {
  const Napi::Array list = array(value, "tensors");
  std::vector<Tensor> tensors;
  tensors.reserve(list.Length());
  for (uint32_t i = 0; i < list.Length(); ++i) {
    try {
      tensors.push_back(read(object(list.Get(i), "the entry")));
    } catch (const Error& error) {
      throw Error(error.code(), "tensors[" + std::to_string(i) + "]: " + error.what());
    }
  }
  return tensors;
}

float read_float(const Napi::Object& object, const char* name) {
  return static_cast<float>(number(object.Get(name), name));
}

ParameterUpdate read_update(const Napi::Object& entry) {
  const Elements<float> gradient = elements<float>(entry.Get("gradient"), "gradient");
  const Napi::Value mask = entry.Get("mask");
  return {floats(entry.Get("parameter"), "parameter", gradient.count),
          gradient.data,
          gradient.count,
          absent(mask) ? nullptr : elements<uint8_t>(mask, "mask", gradient.count).data,
          read_float(entry, "learningRate"),
          read_float(entry, "weightDecay")};
}

// (tensors, options)
Napi::Value sgd_call(const Napi::CallbackInfo& info) {
  const Napi::Object given = object(info[1], "options");
  const SgdOptions options{read_float(given, "momentum"), boolean(given.Get("nesterov"), "nesterov"),
                           read_float(given, "gradientScale")};
  const auto tensors = read_tensors<SgdTensor>(info[0], [&](const Napi::Object& entry) {
    const ParameterUpdate update = read_update(entry);
    const bool has_velocity = options.momentum > 0;
    return SgdTensor{update, has_velocity ? floats(entry.Get("velocity"), "velocity", update.count) : nullptr};
  });
  sgd(tensors, options, context());
  return info.Env().Undefined();
}

// (tensors, options)
Napi::Value lion_call(const Napi::CallbackInfo& info) {
  const Napi::Object given = object(info[1], "options");
  const LionOptions options{read_float(given, "beta1"), read_float(given, "beta2"), read_float(given, "gradientScale")};
  const auto tensors = read_tensors<LionTensor>(info[0], [](const Napi::Object& entry) {
    const ParameterUpdate update = read_update(entry);
    return LionTensor{update, floats(entry.Get("momentum"), "momentum", update.count)};
  });
  lion(tensors, options, context());
  return info.Env().Undefined();
}

AdafactorTensor read_adafactor_tensor(const Napi::Object& entry) {
  AdafactorTensor tensor{read_update(entry), 1, 0, nullptr, nullptr, integer(entry.Get("step"), "step", 1)};
  const Napi::Value variance = entry.Get("variance");
  if (!absent(variance)) {
    tensor.columns = tensor.count;
    tensor.column_means = floats(variance, "variance", tensor.count);
    return tensor;
  }
  const Elements<float> rows = elements<float>(entry.Get("rowMeans"), "rowMeans"),
                        columns = elements<float>(entry.Get("columnMeans"), "columnMeans");
  if (rows.count * columns.count != tensor.count) {
    throw Error("BAD_OPTION", "Expected rowMeans and columnMeans of a matrix of " + std::to_string(tensor.count) +
                                  " elements but received " + std::to_string(rows.count) + " rows and " +
                                  std::to_string(columns.count) + " columns");
  }
  tensor.rows = rows.count;
  tensor.columns = columns.count;
  tensor.row_means = rows.data;
  tensor.column_means = columns.data;
  return tensor;
}

// (tensors, options)
Napi::Value adafactor_call(const Napi::CallbackInfo& info) {
  const Napi::Object given = object(info[1], "options");
  const AdafactorOptions options{number(given.Get("beta2Decay"), "beta2Decay"),
                                 number(given.Get("clipThreshold"), "clipThreshold"),
                                 number(given.Get("epsilon"), "epsilon"), read_float(given, "gradientScale")};
  adafactor(read_tensors<AdafactorTensor>(info[0], read_adafactor_tensor), options, context());
  return info.Env().Undefined();
}

// (tensors, share)
Napi::Value moving_average_call(const Napi::CallbackInfo& info) {
  const float share = static_cast<float>(number(info[1], "share"));
  const auto tensors = read_tensors<MovingAverage>(info[0], [](const Napi::Object& entry) {
    const Elements<float> average = elements<float>(entry.Get("average"), "average");
    return MovingAverage{average.data, floats(entry.Get("values"), "values", average.count), average.count};
  });
  moving_average(tensors, share, context());
  return info.Env().Undefined();
}

// (tensors, limit)
Napi::Value clip_by_value_call(const Napi::CallbackInfo& info) {
  const float limit = static_cast<float>(number(info[1], "limit"));
  if (!(limit >= 0)) {
    throw Error("BAD_OPTION", "Expected a limit of at least 0 but received " + std::to_string(limit));
  }
  const auto tensors = read_tensors<ClippedTensor>(info[0], [](const Napi::Object& entry) {
    const Elements<float> gradient = elements<float>(entry.Get("gradient"), "gradient");
    return ClippedTensor{gradient.data, gradient.count};
  });
  clip_by_value(tensors, limit, context());
  return info.Env().Undefined();
}

}  // namespace

void add_optimizer_glue(Napi::Env, Napi::Object exports) {
  export_function<sgd_call>(exports, "sgd");
  export_function<lion_call>(exports, "lion");
  export_function<adafactor_call>(exports, "adafactor");
  export_function<moving_average_call>(exports, "movingAverage");
  export_function<clip_by_value_call>(exports, "clipByValue");
}

}  // namespace whittle
