// What an engine needs to know of a checkpoint: shapes, head, precision, and where each parameter lies.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "formats/tensor_file.h"
#include "ops/gemm.h"

namespace whittle {

enum class HeadTask : int { none = 0, text_classification, token_classification };

// Between pooler and classifier.
enum class PoolerActivation : int { tanh = 0, relu, gelu };

struct ModelSpec {
  int64_t layers = 0, hidden = 0, heads = 0, intermediate = 0;
  int64_t vocabulary = 0, positions = 0, position_offset = 0, token_types = 0;
  // Row of embeddings.positionBias for each distance of a key from its query, [2 * longest() - 1]; empty: no such bias.
  int64_t position_bias_rows = 0;
  std::vector<int32_t> position_buckets;
  float norm_epsilon = 0;
  HeadTask task = HeadTask::none;
  PoolerActivation pooler_activation = PoolerActivation::tanh;
  int64_t labels = 0;
  Precision precision = Precision::float32;
  // By whittle's parameter names (lib/models/description.ts).
  std::map<std::string, StoredParameter> parameters;

  int64_t longest() const { return positions - position_offset; }  // tokens of a sequence, at most
  int64_t head_size() const { return hidden / heads; }
  bool has(const std::string& name) const { return parameters.count(name) > 0; }
  // Throws Error UNSUPPORTED if sequences may be longer than int8 attention can sum up.
  void expect_attention_fits() const;
  // Throws Error BAD_CHECKPOINT naming the parameter if it is missing or not of this shape.
  const StoredParameter& at(const std::string& name, const std::vector<int64_t>& shape) const;
};

}  // namespace whittle
