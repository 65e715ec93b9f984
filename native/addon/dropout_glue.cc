// Dropout outside the fused kernels, and their masks for the form of the model that is composed of TensorFlow.js operations.
#include <string>

#include "addon/glue.h"
#include "addon/training_arguments.h"
#include "ops/dropout.h"

namespace whittle {

namespace {

DropoutSite site(const Napi::Object& spec) {
  const std::string name = text(spec.Get("site"), "site");
  if (name == "embedding") return DropoutSite::embedding;
  if (name == "attentionProbabilities") return DropoutSite::attention_probabilities;
  if (name == "attentionOutput") return DropoutSite::attention_output;
  if (name == "output") return DropoutSite::output;
  throw Error(
      "BAD_OPTION",
      "Expected embedding, attentionProbabilities, attentionOutput or output for site but received '" + name + "'");
}

Dropout read_dropout(const Napi::Value& value) {
  const Napi::Object spec = object(value, "spec");
  return {rate(spec, "rate"), seed(spec), step(spec),
          static_cast<uint32_t>(integer(spec.Get("layer"), "layer", 0, 1 << 20)), site(spec)};
}

// (spec, x, width, y)
Napi::Value drop_rows_call(const Napi::CallbackInfo& info) {
  const Dropout dropout = read_dropout(info[0]);
  const Elements<float> x = elements<float>(info[1], "x");
  const int64_t width = integer(info[2], "width", 1, 1 << 20), rows = rows_of(x.count, width, "x");
  drop_rows(dropout, x.data, rows, width, floats(info[3], "y", x.count), context());
  return info.Env().Undefined();
}

// (spec, rows, width, keep)
Napi::Value keep_rows_call(const Napi::CallbackInfo& info) {
  const Dropout dropout = read_dropout(info[0]);
  const Elements<int32_t> rows = elements<int32_t>(info[1], "rows");
  const int64_t width = integer(info[2], "width", 1, 1 << 20);
  uint8_t* keep = elements<uint8_t>(info[3], "keep", rows.count * width).data;
  keep_rows(dropout, rows.data, rows.count, width, keep, context());
  return Napi::Number::New(info.Env(), dropout.scale());
}

// (spec, offsets, heads, longest, keep)
Napi::Value keep_probabilities_call(const Napi::CallbackInfo& info) {
  const Dropout dropout = read_dropout(info[0]);
  const Elements<int32_t> offsets = read_offsets(info[1], -1);
  const int64_t sequences = offsets.count - 1, heads = integer(info[2], "heads", 1, 1 << 16),
                longest = integer(info[3], "longest", 0, 1 << 20);
  for (int64_t i = 0; i < sequences; ++i) {
    if (offsets.data[i + 1] - offsets.data[i] > longest) {
      throw Error("BAD_OPTION", "Expected no sequence longer than " + std::to_string(longest) +
                                    " but received one of " + std::to_string(offsets.data[i + 1] - offsets.data[i]));
    }
  }
  if (longest * longest > kMostElements / (sequences * heads + 1)) {
    throw Error("BAD_OPTION", "Expected at most 2^40 attention probabilities");
  }
  uint8_t* keep = elements<uint8_t>(info[4], "keep", sequences * heads * longest * longest).data;
  keep_probabilities(dropout, offsets.data, sequences, heads, longest, keep, context());
  return Napi::Number::New(info.Env(), dropout.scale());
}

}  // namespace

void add_dropout_glue(Napi::Env, Napi::Object exports) {
  export_function<drop_rows_call>(exports, "dropRows");
  export_function<keep_rows_call>(exports, "dropoutKeepRows");
  export_function<keep_probabilities_call>(exports, "dropoutKeepProbabilities");
}

}  // namespace whittle
