// Models with random weights, in a file of the temporary folder, for tests of engines.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <unistd.h>

#include "engine/batcher.h"
#include "engine/model_spec.h"
#include "formats/half.h"
#include "test/buffers.h"

namespace whittle::test {

struct SmallModelOptions {
  int64_t layers = 2, hidden = 64, heads = 2, intermediate = 128, vocabulary = 50, positions = 160, token_types = 2;
  HeadTask task = HeadTask::text_classification;
  int64_t labels = 5;
  bool stored_s8 = false;  // linear weights and word embeddings
  bool position_bias = false;
  PoolerActivation activation = PoolerActivation::tanh;
};

class SmallModel {
 public:
  SmallModel(const SmallModelOptions& o, Precision precision, std::mt19937_64& random) : random_(random) {
    char name[] = "/tmp/whittle-model-XXXXXX";
    file_ = fdopen(mkstemp(name), "wb");
    path_ = name;
    spec.layers = o.layers;
    spec.hidden = o.hidden;
    spec.heads = o.heads;
    spec.intermediate = o.intermediate;
    spec.vocabulary = o.vocabulary;
    spec.positions = o.positions;
    spec.token_types = o.token_types;
    spec.norm_epsilon = 1e-12f;
    spec.task = o.task;
    spec.labels = o.task == HeadTask::none ? 0 : o.labels;
    spec.pooler_activation = o.activation;
    spec.precision = precision;
    if (o.stored_s8)
      weight_s8("embeddings.word", o.vocabulary, o.hidden);
    else
      floats("embeddings.word", {o.vocabulary, o.hidden}, 1, 0, Dtype::f16);
    floats("embeddings.position", {o.positions, o.hidden}, 0.5f);
    if (o.token_types > 0) floats("embeddings.tokenType", {o.token_types, o.hidden}, 0.5f);
    norm("embeddings.norm");
    if (o.position_bias) {
      spec.position_bias_rows = 9;
      floats("embeddings.positionBias", {9, o.heads}, 1);
      for (int64_t i = 0; i < 2 * o.positions - 1; ++i)
        spec.position_buckets.push_back(static_cast<int32_t>(std::min<int64_t>(8, std::abs(i - o.positions + 1) / 3)));
    }
    for (int64_t i = 0; i < o.layers; ++i) {
      const std::string layer = "layers." + std::to_string(i);
      // Small queries: attention that hangs on one key or another by a hair would make any rounding look large.
      linear(layer + ".attention.query", o.hidden, o.hidden, o.stored_s8, 0.2f);
      for (const char* part : {"key", "value", "output"})
        linear(layer + ".attention." + part, o.hidden, o.hidden, o.stored_s8);
      norm(layer + ".attention.norm");
      linear(layer + ".intermediate", o.intermediate, o.hidden, o.stored_s8);
      linear(layer + ".output", o.hidden, o.intermediate, o.stored_s8);
      norm(layer + ".output.norm");
    }
    linear("pooler", o.hidden, o.hidden, o.stored_s8);
    if (o.task != HeadTask::none) linear("classifier", o.labels, o.hidden, false);
    std::fclose(file_);
  }
  ~SmallModel() { std::remove(path_.c_str()); }
  SmallModel(const SmallModel&) = delete;
  SmallModel& operator=(const SmallModel&) = delete;

  ModelSpec spec;

 private:
  // So many values of a tensor are drawn, a prime number; longer ones repeat them. To draw all of a large model's
  // takes longer than its benchmark.
  static constexpr int64_t kDrawn = 100003;
  template <typename T>
  static void repeat(std::vector<T>& values, int64_t count) {
    values.reserve(static_cast<size_t>(count));
    for (size_t i = 0; values.size() < static_cast<size_t>(count); ++i) values.push_back(values[i]);
  }

  template <typename T>
  StoredTensor write(const std::string& name, Dtype dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
    StoredTensor tensor{
        name, path_, dtype, std::move(shape), std::ftell(file_), static_cast<int64_t>(values.size() * sizeof(T))};
    std::fwrite(values.data(), sizeof(T), values.size(), file_);
    return tensor;
  }
  void floats(const std::string& name, const std::vector<int64_t>& shape, float scale, float center = 0,
              Dtype dtype = Dtype::f32) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    auto values = random_floats(random_, std::min(count, kDrawn), scale);
    repeat(values, count);
    for (float& value : values) value += center;
    if (dtype == Dtype::f16) {
      std::vector<uint16_t> halves;
      for (const float value : values) halves.push_back(float_to_half(value));
      spec.parameters[name] = {write(name, dtype, shape, halves), false, {}};
    } else {
      spec.parameters[name] = {write(name, dtype, shape, values), false, {}};
    }
  }
  void weight_s8(const std::string& name, int64_t n, int64_t k, float size = 1) {
    auto q = random_int8(random_, std::min(n * k, kDrawn));
    repeat(q, n * k);
    for (int8_t& value : q)
      if (value == -128) value = -127;
    std::vector<float> scales;
    for (int64_t r = 0; r < n; ++r)
      scales.push_back(size * (1 + static_cast<float>(random_() % 100) / 100) / 127 / std::sqrt(static_cast<float>(k)));
    StoredParameter parameter{write(name, Dtype::i8, {n, k}, q), true, {}};
    parameter.scale = write(name + "_scale", Dtype::f32, {n, 1}, scales);
    spec.parameters[name] = parameter;
  }
  void linear(const std::string& name, int64_t n, int64_t k, bool s8, float size = 1) {
    if (s8)
      weight_s8(name + ".weight", n, k, size);
    else
      floats(name + ".weight", {n, k}, size / std::sqrt(static_cast<float>(k)));
    floats(name + ".bias", {n}, 0.1f);
  }
  // A few channels are large, as those of trained models are, so that there are outliers.
  void norm(const std::string& name) {
    auto gamma = random_floats(random_, spec.hidden, 0.1f);
    for (float& value : gamma) value += 1;
    gamma[0] *= 15;
    gamma[static_cast<size_t>(spec.hidden / 2)] *= 7;
    spec.parameters[name + ".weight"] = {write(name + ".weight", Dtype::f32, {spec.hidden}, gamma), false, {}};
    floats(name + ".bias", {spec.hidden}, 0.1f);
  }

  std::mt19937_64& random_;
  std::FILE* file_;
  std::string path_;
};

// Random ids for sequences of these lengths.
struct SmallBatch {
  std::vector<int32_t> ids, types, offsets = {0};

  SmallBatch(const std::vector<int64_t>& lengths, const ModelSpec& spec, std::mt19937_64& random) {
    for (const int64_t length : lengths) {
      for (int64_t t = 0; t < length; ++t) {
        ids.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(spec.vocabulary)));
        types.push_back(spec.token_types > 0 ? static_cast<int32_t>(random() % static_cast<uint64_t>(spec.token_types))
                                             : 0);
      }
      offsets.push_back(static_cast<int32_t>(ids.size()));
    }
  }
  RaggedBatch batch() const {
    return {ids.data(), types.data(), offsets.data(), static_cast<int64_t>(offsets.size()) - 1};
  }
};

}  // namespace whittle::test
