// One post-norm encoder layer (Vaswani et al. 2017; Devlin et al. 2018), forward and backward, over a ragged batch:
//
//   attended = attention(x Wq + bq, x Wk + bk, x Wv + bv), scores with a bias by relative position, if there is one
//   middle   = LayerNorm(x + dropout(attended Wo + bo))
//   y        = LayerNorm(middle + dropout(gelu(middle Wi + bi) Wout + bout))
//
// Weights are [out, in] as checkpoints store them, so each product is with the transpose.
#pragma once

#include <cstdint>

#include "ops/context.h"
#include "ops/gemm.h"
#include "ops/packed_forms.h"

namespace whittle {

struct BlockShape {
  const int32_t* offsets;  // [sequences + 1]
  int64_t sequences;
  int64_t hidden;
  int64_t heads;
  int64_t intermediate;
  int64_t max_distance = 0;  // of the position bias; no sequence is longer

  int64_t tokens() const { return offsets[sequences]; }
};

struct BlockOptions {
  float norm_epsilon;
  float hidden_dropout;     // rates; 0: none
  float attention_dropout;  // of the attention probabilities
  uint64_t seed;            // of dropout, with step and layer
  uint32_t step;
  uint32_t layer;
  // Of the products: float32 or bfloat16, which falls back to float32 where the table has no bf16 products. With
  // bfloat16 what products read is kept as bf16; sums, LayerNorm, softmax and the residual stream are float32.
  Precision precision;
};

// The parameters of a layer (T = const float) or their gradients (T = float), where null means not wanted.
template <typename T>
struct BlockTensors {
  T* query_weight;  // [hidden, hidden]
  T* query_bias;    // [hidden]
  T* key_weight;
  T* key_bias;
  T* value_weight;
  T* value_bias;
  T* attention_output_weight;
  T* attention_output_bias;
  T* attention_norm_weight;  // [hidden]
  T* attention_norm_bias;
  T* intermediate_weight;  // [intermediate, hidden]
  T* intermediate_bias;    // [intermediate]
  T* output_weight;        // [hidden, intermediate]
  T* output_bias;          // [hidden]
  T* output_norm_weight;
  T* output_norm_bias;
  T* position_bias;  // [heads, 2 * max_distance - 1], see ops/attention.h; null in the parameters: none
};

// The packed forms of the weights that have them, as BlockTensors has the weights now. Only bf16 products read them.
struct BlockPacked {
  PackedForms query, key, value, attention_output, intermediate, output;
};

// Floats of the buffer that keeps what the backward pass needs.
int64_t block_saved_floats(const BlockShape& shape, int64_t tokens, Precision precision, const KernelTable& kernels);

// y [tokens, hidden] from x [tokens, hidden]. saved: null, or block_saved_floats for the backward pass.
void transformer_block_forward(const BlockShape& shape, const BlockOptions& options,
                               const BlockTensors<const float>& parameters, const BlockPacked& packed, const float* x,
                               float* y, float* saved, const Context& context);

// dx [tokens, hidden] (null: not wanted) and the gradients of the parameters, overwritten. saved is used up; null: what
// the forward pass would have saved is computed again, which gives the same bit for bit.
void transformer_block_backward(const BlockShape& shape, const BlockOptions& options,
                                const BlockTensors<const float>& parameters, const BlockPacked& packed, const float* x,
                                float* saved, const float* dy, float* dx, const BlockTensors<float>& gradients,
                                const Context& context);

}  // namespace whittle
