// The training core. Everything is synchronous: TensorFlow.js kernels are. Shapes are checked here, so that the core
// never reads or writes outside the arrays it is given.
#include <algorithm>
#include <string>
#include <vector>

#include "addon/glue.h"
#include "addon/training_arguments.h"
#include "ops/adamw.h"
#include "training/cross_entropy.h"
#include "training/embedding.h"
#include "training/transformer_block.h"

namespace whittle {

namespace {

// --- encoder layer ------------------------------------------------------------------------------------------

constexpr int kBlockParameters = 16;  // blockParameterNames in bindings/native.ts has their order
constexpr int kPositionBias = 16;     // may follow them

struct BlockSpec {
  int64_t hidden, heads, intermediate;
  BlockOptions options;

  explicit BlockSpec(const Napi::Value& value) {
    const Napi::Object spec = object(value, "spec");
    hidden = integer(spec.Get("hidden"), "hidden", 1, 1 << 20);
    heads = integer(spec.Get("heads"), "heads", 1, hidden);
    intermediate = integer(spec.Get("intermediate"), "intermediate", 1, 1 << 22);
    if (hidden % heads != 0) {
      throw Error("BAD_OPTION", "Expected heads to divide hidden = " + std::to_string(hidden) + " but received " +
                                    std::to_string(heads));
    }
    options.norm_epsilon = static_cast<float>(number(spec.Get("normEpsilon"), "normEpsilon"));
    options.hidden_dropout = rate(spec, "hiddenDropout");
    options.attention_dropout = rate(spec, "attentionDropout");
    options.seed = seed(spec);
    options.step = step(spec);
    options.layer = static_cast<uint32_t>(integer(spec.Get("layer"), "layer", 0, 1 << 20));
    options.precision = precision(spec.Get("precision"));
  }

  // parameters: the list that may end in a position bias, [heads, 2 * maxDistance - 1].
  BlockShape shape(const Elements<int32_t>& offsets, const Napi::Value& parameters) const {
    BlockShape shape{offsets.data, offsets.count - 1, hidden, heads, intermediate};
    const Napi::Array list = array(parameters, "parameters");
    if (list.Length() <= kPositionBias || absent(list.Get(kPositionBias))) return shape;
    const Elements<float> bias = elements<float>(list.Get(kPositionBias), "positionBias");
    int64_t longest = 1;
    for (int64_t s = 0; s < shape.sequences; ++s) {
      longest = std::max<int64_t>(longest, offsets.data[s + 1] - offsets.data[s]);
    }
    if (bias.count % heads != 0 || bias.count / heads % 2 == 0 || bias.count / heads < 2 * longest - 1) {
      throw Error("BAD_OPTION", "Expected " + std::to_string(heads) + " heads times an odd number of at least " +
                                    std::to_string(2 * longest - 1) + " distances for positionBias but received " +
                                    std::to_string(bias.count) + " elements");
    }
    shape.max_distance = (bias.count / heads + 1) / 2;
    return shape;
  }
  int64_t saved_floats(int64_t tokens) const {
    return block_saved_floats({nullptr, 0, hidden, heads, intermediate}, tokens, options.precision, kernels());
  }
  // Elements of parameter `index`.
  int64_t parameter_count(int index) const {
    switch (index) {
      case 0:
      case 2:
      case 4:
      case 6:
        return hidden * hidden;
      case 10:
      case 12:
        return hidden * intermediate;
      case 11:
        return intermediate;
      default:
        return hidden;
    }
  }
};

template <typename T>
BlockTensors<T> block_tensors(const Napi::Value& value, const char* name, const BlockSpec& spec, int64_t max_distance,
                              bool may_be_null) {
  const Napi::Array list = array(value, name);
  if (list.Length() != kBlockParameters && list.Length() != kPositionBias + 1) {
    throw Error("BAD_OPTION",
                std::string("Expected 16 or 17 ") + name + " but received " + std::to_string(list.Length()));
  }
  T* parts[kBlockParameters];
  for (int i = 0; i < kBlockParameters; ++i) {
    const Napi::Value part = list.Get(static_cast<uint32_t>(i));
    const std::string part_name = std::string(name) + "[" + std::to_string(i) + "]";
    parts[i] = may_be_null ? optional_floats(part, part_name.c_str(), spec.parameter_count(i))
                           : floats(part, part_name.c_str(), spec.parameter_count(i));
  }
  const Napi::Value bias = list.Get(kPositionBias);
  if (!absent(bias) && max_distance == 0) {
    throw Error("BAD_OPTION", "Expected no gradient of a positionBias that is not given");
  }
  T* position_bias = optional_floats(bias, "positionBias", spec.heads * (2 * max_distance - 1));
  return {parts[0], parts[1],  parts[2],  parts[3],  parts[4],  parts[5],  parts[6],  parts[7],     parts[8],
          parts[9], parts[10], parts[11], parts[12], parts[13], parts[14], parts[15], position_bias};
}

// A buffer for both packed forms of W [rows, columns]; nothing for null.
PackedForms packed_weight(const Napi::Value& value, const char* name, int64_t rows, int64_t columns) {
  if (absent(value)) return {};
  if (!kernels().native_bf16) throw Error("BAD_OPTION", "Expected no " + std::string(name) + " without bf16 products");
  float* buffer = floats(value, name, PackedForms::floats(rows, columns, kernels()));
  if (reinterpret_cast<uintptr_t>(buffer) % kAlignment != 0) {
    throw Error("BAD_OPTION", "Expected " + std::string(name) + " to begin at a multiple of " +
                                  std::to_string(kAlignment) + " bytes, as an array of allocateFloats does");
  }
  return PackedForms::within(buffer, rows, columns, kernels());
}

// Six buffers or nulls in the order of a layer's weights, or nothing.
BlockPacked block_packed(const Napi::Value& value, const BlockSpec& spec) {
  if (absent(value)) return {};
  const Napi::Array list = array(value, "packed");
  const auto weight = [&](uint32_t index, int64_t rows, int64_t columns) {
    return packed_weight(list.Get(index), ("packed[" + std::to_string(index) + "]").c_str(), rows, columns);
  };
  const int64_t hidden = spec.hidden, intermediate = spec.intermediate;
  return {weight(0, hidden, hidden), weight(1, hidden, hidden),       weight(2, hidden, hidden),
          weight(3, hidden, hidden), weight(4, intermediate, hidden), weight(5, hidden, intermediate)};
}

// (rows, columns, precision)
Napi::Value packed_weight_floats(const Napi::CallbackInfo& info) {
  const int64_t rows = integer(info[0], "rows", 1, 1 << 22), columns = integer(info[1], "columns", 1, 1 << 22);
  const bool kept = precision(info[2]) == Precision::bfloat16 && kernels().native_bf16;
  return Napi::Number::New(info.Env(),
                           kept ? static_cast<double>(PackedForms::floats(rows, columns, kernels())) : 0);
}

Napi::Value block_saved_floats_of(const Napi::CallbackInfo& info) {
  const BlockSpec spec(info[0]);
  return Napi::Number::New(info.Env(), static_cast<double>(spec.saved_floats(integer(info[1], "tokens", 0, 1 << 28))));
}

float* saved_buffer(const Napi::Value& value, int64_t needed) {
  const Elements<float> saved = elements<float>(value, "saved");
  if (saved.count < needed) {
    throw Error("BAD_OPTION", "Expected at least " + std::to_string(needed) + " elements for saved but received " +
                                  std::to_string(saved.count));
  }
  return saved.data;
}

// (spec, x, offsets, parameters, y, saved, packed)
Napi::Value block_forward(const Napi::CallbackInfo& info) {
  const BlockSpec spec(info[0]);
  const Elements<float> x = elements<float>(info[1], "x");
  const int64_t tokens = rows_of(x.count, spec.hidden, "x");
  const Elements<int32_t> offsets = read_offsets(info[2], tokens);
  const BlockShape shape = spec.shape(offsets, info[3]);
  const auto parameters = block_tensors<const float>(info[3], "parameters", spec, shape.max_distance, false);
  float* y = floats(info[4], "y", x.count);
  float* saved = absent(info[5]) ? nullptr : saved_buffer(info[5], spec.saved_floats(tokens));
  const BlockPacked packed = block_packed(info[6], spec);
  transformer_block_forward(shape, spec.options, parameters, packed, x.data, y, saved, context());
  return info.Env().Undefined();
}

// (spec, x, offsets, parameters, saved, dy, dx, gradients, packed)
Napi::Value block_backward(const Napi::CallbackInfo& info) {
  const BlockSpec spec(info[0]);
  const Elements<float> x = elements<float>(info[1], "x");
  const int64_t tokens = rows_of(x.count, spec.hidden, "x");
  const Elements<int32_t> offsets = read_offsets(info[2], tokens);
  const BlockShape shape = spec.shape(offsets, info[3]);
  const auto parameters = block_tensors<const float>(info[3], "parameters", spec, shape.max_distance, false);
  float* saved = absent(info[4]) ? nullptr : saved_buffer(info[4], spec.saved_floats(tokens));
  const float* dy = floats(info[5], "dy", x.count);
  float* dx = optional_floats(info[6], "dx", x.count);
  const auto gradients = block_tensors<float>(info[7], "gradients", spec, shape.max_distance, true);
  const BlockPacked packed = block_packed(info[8], spec);
  transformer_block_backward(shape, spec.options, parameters, packed, x.data, saved, dy, dx, gradients, context());
  return info.Env().Undefined();
}

// --- embedding ----------------------------------------------------------------------------------------------

// (spec, inputIds, tokenTypeIds, offsets, parameters, ...)
struct EmbeddingCall {
  EmbeddingOptions options;
  EmbeddingBatch batch;
  EmbeddingTensors<const float> parameters;

  explicit EmbeddingCall(const Napi::CallbackInfo& info) {
    const Napi::Object spec = object(info[0], "spec");
    options.hidden = integer(spec.Get("hidden"), "hidden", 1, 1 << 20);
    options.position_offset = integer(spec.Get("positionOffset"), "positionOffset", 0, 1 << 20);
    options.norm_epsilon = static_cast<float>(number(spec.Get("normEpsilon"), "normEpsilon"));
    options.dropout = rate(spec, "dropout");
    options.seed = seed(spec);
    options.step = step(spec);
    const Elements<int32_t> ids = elements<int32_t>(info[1], "inputIds");
    const Elements<int32_t> types = elements<int32_t>(info[2], "tokenTypeIds", ids.count);
    const Elements<int32_t> offsets = read_offsets(info[3], ids.count);
    batch = {ids.data, types.data, offsets.data, offsets.count - 1};
    const Napi::Array list = tensors(info[4], "parameters");
    const Elements<float> word = elements<float>(list.Get(0u), "embeddings.word");
    const Elements<float> position = elements<float>(list.Get(1u), "embeddings.position");
    options.vocabulary = rows_of(word.count, options.hidden, "embeddings.word");
    options.positions = rows_of(position.count, options.hidden, "embeddings.position");
    options.token_types = 0;
    parameters = {word.data, position.data, nullptr, floats(list.Get(3u), "embeddings.norm.weight", options.hidden),
                  floats(list.Get(4u), "embeddings.norm.bias", options.hidden)};
    if (!absent(list.Get(2u))) {
      const Elements<float> token_type = elements<float>(list.Get(2u), "embeddings.tokenType");
      options.token_types = rows_of(token_type.count, options.hidden, "embeddings.tokenType");
      parameters.token_type = token_type.data;
    }
  }

  static Napi::Array tensors(const Napi::Value& value, const char* name) {
    const Napi::Array list = array(value, name);
    if (list.Length() != 5) {
      throw Error("BAD_OPTION", std::string("Expected 5 ") + name + " but received " + std::to_string(list.Length()));
    }
    return list;
  }
};

// (spec, tokens)
Napi::Value embedding_saved_floats_of(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           static_cast<double>(embedding_saved_floats(integer(info[1], "tokens", 0, 1 << 28))));
}

// (spec, inputIds, tokenTypeIds, offsets, parameters, y, saved)
Napi::Value embedding_forward_call(const Napi::CallbackInfo& info) {
  const EmbeddingCall call(info);
  const int64_t tokens = call.batch.tokens();
  float* y = floats(info[5], "y", tokens * call.options.hidden);
  float* saved = absent(info[6]) ? nullptr : saved_buffer(info[6], embedding_saved_floats(tokens));
  embedding_forward(call.batch, call.options, call.parameters, y, saved, context());
  return info.Env().Undefined();
}

// (spec, inputIds, tokenTypeIds, offsets, parameters, saved, dy, gradients)
Napi::Value embedding_backward_call(const Napi::CallbackInfo& info) {
  const EmbeddingCall call(info);
  const int64_t tokens = call.batch.tokens(), hidden = call.options.hidden;
  const float* saved = saved_buffer(info[5], embedding_saved_floats(tokens));
  const float* dy = floats(info[6], "dy", tokens * hidden);
  const Napi::Array list = EmbeddingCall::tensors(info[7], "gradients");
  const EmbeddingTensors<float> gradients = {
      optional_floats(list.Get(0u), "gradients[0]", call.options.vocabulary * hidden),
      optional_floats(list.Get(1u), "gradients[1]", call.options.positions * hidden),
      optional_floats(list.Get(2u), "gradients[2]", call.options.token_types * hidden),
      optional_floats(list.Get(3u), "gradients[3]", hidden), optional_floats(list.Get(4u), "gradients[4]", hidden)};
  embedding_backward(call.batch, call.options, call.parameters, saved, dy, gradients, context());
  return info.Env().Undefined();
}

// --- loss and optimizer -------------------------------------------------------------------------------------

// (logits, labels, classes, dlogits)
Napi::Value cross_entropy_call(const Napi::CallbackInfo& info) {
  const Elements<float> logits = elements<float>(info[0], "logits");
  const int64_t classes = integer(info[2], "classes", 1, 1 << 30);
  const int64_t rows = rows_of(logits.count, classes, "logits");
  const int32_t* labels = elements<int32_t>(info[1], "labels", rows).data;
  float* dlogits = optional_floats(info[3], "dlogits", logits.count);
  const CrossEntropy result = softmax_cross_entropy(logits.data, labels, rows, classes, dlogits, context());
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("loss", result.loss);
  object.Set("counted", static_cast<double>(result.counted));
  return object;
}

Gradient read_gradient(const Napi::Object& tensor) {
  const Elements<float> data = elements<float>(tensor.Get("gradient"), "gradient");
  Gradient gradient{data.data, data.count};
  const Napi::Value given = tensor.Get("gradientRows");
  if (absent(given)) return gradient;
  const Elements<int32_t> rows = elements<int32_t>(given, "gradientRows");
  gradient.width = integer(tensor.Get("columns"), "columns", 1, kMostElements);
  gradient.rows = rows.data;
  gradient.row_count = rows.count;
  const int64_t all = rows_of(data.count, gradient.width, "gradient");
  for (int64_t i = 0; i < rows.count; ++i) {
    if (rows.data[i] < 0 || rows.data[i] >= all || (i > 0 && rows.data[i] <= rows.data[i - 1])) {
      throw Error("BAD_OPTION", "Expected gradientRows from 0 to " + std::to_string(all - 1) +
                                    " in ascending order but gradientRows[" + std::to_string(i) + "] is " +
                                    std::to_string(rows.data[i]));
    }
  }
  return gradient;
}

// (tensors, options)
Napi::Value adamw_call(const Napi::CallbackInfo& info) {
  const Napi::Array list = array(info[0], "tensors");
  const Napi::Object given = object(info[1], "options");
  const AdamwOptions options{
      number(given.Get("beta1"), "beta1"), number(given.Get("beta2"), "beta2"),
      static_cast<float>(number(given.Get("epsilon"), "epsilon")),
      static_cast<float>(number(given.Get("gradientScale"), "gradientScale")),
      !absent(given.Get("decayInGradient")) && boolean(given.Get("decayInGradient"), "decayInGradient")};
  std::vector<AdamwTensor> tensors;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Object entry = object(list.Get(i), "tensors[i]");
    AdamwTensor tensor;
    tensor.gradient = read_gradient(entry);
    const int64_t count = tensor.gradient.count;
    tensor.parameter = floats(entry.Get("parameter"), "parameter", count);
    tensor.first_moment = floats(entry.Get("firstMoment"), "firstMoment", count);
    tensor.second_moment = floats(entry.Get("secondMoment"), "secondMoment", count);
    const Napi::Value mask = entry.Get("mask");
    tensor.mask = absent(mask) ? nullptr : elements<uint8_t>(mask, "mask", count).data;
    tensor.learning_rate = static_cast<float>(number(entry.Get("learningRate"), "learningRate"));
    tensor.weight_decay = static_cast<float>(number(entry.Get("weightDecay"), "weightDecay"));
    tensor.step = integer(entry.Get("step"), "step", 1);
    const Napi::Value packed = entry.Get("packed");
    if (!absent(packed)) {
      tensor.columns = integer(entry.Get("columns"), "columns", 1, 1 << 22);
      tensor.packed = packed_weight(packed, "packed", rows_of(count, tensor.columns, "gradient"), tensor.columns);
    }
    tensors.push_back(tensor);
  }
  adamw(tensors, options, context());
  return info.Env().Undefined();
}

Napi::Value scratch_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(arena_growth.load()));
}

// (tensors)
Napi::Value gradient_norm_call(const Napi::CallbackInfo& info) {
  const Napi::Array list = array(info[0], "tensors");
  std::vector<Gradient> gradients;
  for (uint32_t i = 0; i < list.Length(); ++i) gradients.push_back(read_gradient(object(list.Get(i), "tensors[i]")));
  return Napi::Number::New(info.Env(), gradient_norm(gradients, context()));
}

}  // namespace

void add_training_glue(Napi::Env, Napi::Object exports) {
  export_function<block_saved_floats_of>(exports, "blockSavedFloats");
  export_function<packed_weight_floats>(exports, "packedWeightFloats");
  export_function<block_forward>(exports, "blockForward");
  export_function<block_backward>(exports, "blockBackward");
  export_function<embedding_saved_floats_of>(exports, "embeddingSavedFloats");
  export_function<embedding_forward_call>(exports, "embeddingForward");
  export_function<embedding_backward_call>(exports, "embeddingBackward");
  export_function<cross_entropy_call>(exports, "softmaxCrossEntropy");
  export_function<adamw_call>(exports, "adamw");
  export_function<gradient_norm_call>(exports, "gradientNorm");
  export_function<scratch_bytes>(exports, "scratchBytes");
}

}  // namespace whittle
