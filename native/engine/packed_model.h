// The read-only weights of one model in the layout of one ISA, shared by all that run it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/model_spec.h"
#include "kernels/kernel_table.h"
#include "ops/gemm.h"

namespace whittle {

struct PackedLinear {
  PackedWeight weight;      // [n, k]
  std::vector<float> bias;  // [n]
};

struct Norm {
  std::vector<float> gamma, beta;  // [hidden]
};

// A table of embeddings in the dtype of the checkpoint; rows are widened when they are gathered.
struct EmbeddingTable {
  Dtype dtype = Dtype::f32;
  int64_t rows = 0, width = 0;
  AlignedBuffer data;         // [rows, width]
  std::vector<float> scales;  // [rows], int8 only

  // out[c] = table[row, c]
  void gather(int64_t row, float* out, const KernelTable& kernels) const;
};

struct PackedLayer {
  PackedLinear qkv;  // [3 * hidden, hidden]: query, key, value
  PackedLinear attention_output;
  Norm attention_norm;
  PackedLinear intermediate;
  PackedLinear output;
  Norm output_norm;
};

// Outliers that a row of int8 activations may have after LayerNorm, which leaves a few channels large for every token.
inline constexpr int kNormOutliers = 2;

struct PackedModel {
  // Reads and packs. `check` is called between tensors and may throw. Throws Error BAD_CHECKPOINT, IO, or UNSUPPORTED
  // if the table lacks the precision.
  // Precision int8: the linear layers of the encoder are int8, quantized here if the checkpoint holds floats; pooler
  // and classifier are int8 where the checkpoint stores them so and float32 otherwise.
  PackedModel(const ModelSpec& spec, const KernelTable& kernels, int threads, const std::function<void()>& check);

  const KernelTable& kernels;
  const int64_t hidden, heads, head_size, intermediate;
  const int64_t vocabulary, positions, position_offset, token_types;
  const float norm_epsilon;
  const HeadTask task;
  const PoolerActivation pooler_activation;
  const int64_t labels;
  const Precision precision;

  EmbeddingTable word;
  std::vector<float> position;    // [positions, hidden]
  std::vector<float> token_type;  // [token_types, hidden]
  // [heads, 2 * (positions - position_offset) - 1], as ops/attention.h has it; empty: none
  std::vector<float> position_bias;
  Norm embedding_norm;
  std::vector<PackedLayer> layers;
  bool has_pooler = false;
  PackedLinear pooler;      // [hidden, hidden]
  PackedLinear classifier;  // [labels, hidden], if task is not none

  int64_t bytes() const;
  // How many engines hold this model; counted by them.
  mutable std::atomic<int> users{0};
};

}  // namespace whittle
