// Self-attention over a ragged batch.
#pragma once

#include <cstdint>

#include "ops/context.h"
#include "ops/dropout.h"
#include "ops/gemm.h"

namespace whittle {

// A bias of the scores that depends on head and distance alone (Toeplitz form): element [h, max_distance - 1 + j - i]
// is added to the scaled score of query i and key j. No sequence is longer than max_distance.
struct PositionBias {
  const float* data = nullptr;  // [heads, 2 * max_distance - 1], or null: none
  int64_t max_distance = 0;

  int64_t width() const { return 2 * max_distance - 1; }
};

// T: float, or bf16 in training.
template <typename T>
struct AttentionOf {
  // [tokens, heads * head_size] each, rows `stride` apart; head h has columns [h * head_size, (h + 1) * head_size).
  const T* q;
  const T* k;
  const T* v;
  int64_t stride;
  const int32_t* offsets;  // [sequences + 1]
  int64_t sequences;
  int64_t heads;
  int64_t head_size;
  T* out;  // [tokens, heads * head_size]
  int64_t out_stride;
  const Dropout* dropout;  // of the probabilities, or null
  PositionBias bias = {};
};
using Attention = AttentionOf<float>;

// out = dropout(softmax(q k^T / sqrt(head_size) + bias)) v, sequence by sequence and head by head. precision bfloat16:
// bf16 products where the table has them.
void attention(const Attention& arguments, Precision precision, const Context& context);

// dq, dk, dv (laid out as q, k, v; overwritten) from what attention was given (out is not read) and
// dout [tokens, heads * head_size] with rows out_stride apart. Products in float32. dbias [heads, bias.width()], or
// null: not wanted; overwritten with the sum over all sequences, in their order.
void attention_backward(const Attention& forward, const float* dout, float* dq, float* dk, float* dv, float* dbias,
                        const Context& context);

// The same on bf16. softmax: attention_softmax_floats, what the backward pass needs.
void attention(const AttentionOf<bf16>& arguments, float* softmax, const Context& context);
void attention_backward(const AttentionOf<bf16>& forward, const float* softmax, const bf16* dout, bf16* dq, bf16* dk,
                        bf16* dv, float* dbias, const Context& context);

inline int64_t attention_softmax_floats(int64_t tokens, int64_t heads) {
  return 2 * tokens * heads;  // [2, length] a head of a sequence
}

}  // namespace whittle
