// Self-attention of the engine: bf16 rows in, inference only.
#pragma once

#include <cstdint>

#include "ops/attention.h"

namespace whittle {

struct AttentionRows {
  // [tokens, heads * head_size] each, rows `stride` (even) apart; head h has columns [h * head_size, (h + 1) *
  // head_size).
  const bf16* q;
  const bf16* k;
  const bf16* v;
  int64_t stride;
  const int32_t* offsets;  // [sequences + 1]
  int64_t sequences;
  int64_t heads;
  int64_t head_size;
  float* out;  // [tokens, heads * head_size]
  int64_t out_stride;
  PositionBias bias;
  bool first_only;  // of each sequence only the first token's row of `out`
};

// out = softmax(q k^T / sqrt(head_size) + bias) v, sequence by sequence and head by head.
void attention_rows(const AttentionRows& arguments, const Context& context);

}  // namespace whittle
