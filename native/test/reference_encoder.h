// An encoder in plain C++, one value at a time: float32 with sums in double.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "engine/cuda_model.h"
#include "engine/executor.h"
#include "formats/tensor_file.h"
#include "kernels/ref/activation.h"
#include "test/small_model.h"

namespace whittle::test {

class ReferenceEncoder {
 public:
  explicit ReferenceEncoder(const ModelSpec& spec) : spec_(spec) {}

  std::vector<float> run(const RaggedBatch& batch, Output output) {
    const size_t hidden = static_cast<size_t>(spec_.hidden);
    std::vector<float> result;
    for (int64_t s = 0; s < batch.sequences; ++s) {
      const Rows x = encode(batch, s);
      const auto append = [&](const std::vector<float>& row) { result.insert(result.end(), row.begin(), row.end()); };
      if (output == Output::hidden) {
        for (const auto& row : x) append(row);
      } else if (output == Output::first) {
        append(x[0]);
      } else if (output == Output::mean) {
        std::vector<float> mean(hidden);
        for (const auto& row : x)
          for (size_t c = 0; c < hidden; ++c) mean[c] += row[c] / static_cast<float>(x.size());
        append(mean);
      } else if (output == Output::pooled || spec_.task == HeadTask::text_classification) {
        Rows pooled = linear({x[0]}, {"pooler"}, spec_.hidden, spec_.hidden);
        for (float& value : pooled[0]) {
          if (spec_.pooler_activation == PoolerActivation::tanh) value = std::tanh(value);
          if (spec_.pooler_activation == PoolerActivation::relu) value = std::max(value, 0.0f);
          if (spec_.pooler_activation == PoolerActivation::gelu) value = ref::activate(value, Activation::gelu);
        }
        append(output == Output::pooled ? pooled[0] : classify(pooled)[0]);
      } else {
        for (const auto& row : classify(x)) append(row);
      }
    }
    return result;
  }

 private:
  using Rows = std::vector<std::vector<float>>;

  std::vector<float> floats(const std::string& name) {
    const StoredParameter& parameter = spec_.parameters.at(name);
    std::vector<float> values(static_cast<size_t>(parameter.tensor.elements()));
    reader_.read_parameter(parameter, values.data());
    return values;
  }

  Rows classify(const Rows& x) { return linear(x, {"classifier"}, spec_.labels, spec_.hidden); }

  // y = x W^T + b of several layers side by side.
  Rows linear(const Rows& x, const std::vector<std::string>& names, int64_t n, int64_t k) {
    Rows y(x.size());
    for (const std::string& name : names) {
      const auto w = floats(name + ".weight"), bias = floats(name + ".bias");
      for (size_t i = 0; i < x.size(); ++i)
        for (int64_t j = 0; j < n; ++j) {
          double sum = 0;
          for (int64_t c = 0; c < k; ++c) sum += double{x[i][static_cast<size_t>(c)]} * w[static_cast<size_t>(j * k + c)];
          y[i].push_back(static_cast<float>(sum + bias[static_cast<size_t>(j)]));
        }
    }
    return y;
  }

  Rows norm(const Rows& x, const std::string& name) {
    const auto gamma = floats(name + ".weight"), beta = floats(name + ".bias");
    Rows y = x;
    for (auto& row : y)
      kernels_for(Isa::ref)->layer_norm(row.data(), spec_.hidden, 1, spec_.hidden, gamma.data(), beta.data(),
                                        spec_.norm_epsilon, row.data(), spec_.hidden, nullptr, nullptr);
    return y;
  }

  Rows sum(const Rows& a, const Rows& b) {
    Rows y = a;
    for (size_t i = 0; i < y.size(); ++i)
      for (size_t c = 0; c < y[i].size(); ++c) y[i][c] += b[i][c];
    return y;
  }

  Rows attend(const Rows& qkv) {
    const int64_t hidden = spec_.hidden, size = spec_.head_size(), length = static_cast<int64_t>(qkv.size());
    std::vector<float> flat, out(static_cast<size_t>(length * hidden)), scratch(static_cast<size_t>(length)), bias;
    for (const auto& row : qkv) flat.insert(flat.end(), row.begin(), row.end());
    if (!spec_.position_buckets.empty()) {
      const auto table = floats("embeddings.positionBias");
      for (int64_t h = 0; h < spec_.heads; ++h)
        for (const int32_t bucket : spec_.position_buckets)
          bias.push_back(table[static_cast<size_t>(bucket * spec_.heads + h)]);
    }
    for (int64_t h = 0; h < spec_.heads; ++h) {
      const int64_t width = 2 * spec_.longest() - 1;
      const ScoreBias score_bias{bias.data() + h * width + spec_.longest() - 1, -1};
      kernels_for(Isa::ref)->attention(flat.data() + h * size, flat.data() + hidden + h * size,
                                       flat.data() + 2 * hidden + h * size, 3 * hidden, length, size,
                                       1 / std::sqrt(static_cast<float>(size)), bias.empty() ? nullptr : &score_bias,
                                       scratch.data(), out.data() + h * size, hidden, nullptr);
    }
    Rows y;
    for (int64_t t = 0; t < length; ++t) y.emplace_back(out.begin() + t * hidden, out.begin() + (t + 1) * hidden);
    return y;
  }

  Rows encode(const RaggedBatch& batch, int64_t sequence) {
    const int64_t hidden = spec_.hidden;
    const auto word = floats("embeddings.word"), position = floats("embeddings.position");
    const auto type = spec_.token_types > 0 ? floats("embeddings.tokenType") : std::vector<float>();
    Rows x;
    for (int64_t t = batch.offsets[sequence]; t < batch.offsets[sequence + 1]; ++t) {
      std::vector<float> row;
      for (int64_t c = 0; c < hidden; ++c) {
        float value = word[static_cast<size_t>(batch.input_ids[t] * hidden + c)];
        if (!type.empty()) value += type[static_cast<size_t>(batch.token_type_ids[t] * hidden + c)];
        row.push_back(
            value + position[static_cast<size_t>((spec_.position_offset + t - batch.offsets[sequence]) * hidden + c)]);
      }
      x.push_back(row);
    }
    x = norm(x, "embeddings.norm");
    for (int64_t i = 0; i < spec_.layers; ++i) {
      const std::string layer = "layers." + std::to_string(i), a = layer + ".attention";
      const Rows qkv = linear(x, {a + ".query", a + ".key", a + ".value"}, hidden, hidden);
      x = norm(sum(linear(attend(qkv), {a + ".output"}, hidden, hidden), x), a + ".norm");
      Rows inner = linear(x, {layer + ".intermediate"}, spec_.intermediate, hidden);
      for (auto& row : inner)
        for (float& value : row) value = ref::activate(value, Activation::gelu);
      x = norm(sum(linear(inner, {layer + ".output"}, hidden, spec_.intermediate), x),
               layer + ".output.norm");
    }
    return x;
  }

  const ModelSpec& spec_;
  TensorReader reader_;
};

}  // namespace whittle::test
