// Self-attention of the int8 engine, in integers: kernels/byte_attention.h.
#pragma once

#include <cstdint>

#include "kernels/byte_attention.h"
#include "ops/attention.h"

namespace whittle {

struct AttentionBytes {
  // [tokens, heads * head_size] each, rows `stride` apart, as quantize_heads_s8 leaves them: q with its highest bits
  // flipped. padded_k(head_size) bytes of each head of q may be read.
  const int8_t* q;
  const int8_t* k;
  const int8_t* v;
  int64_t stride;
  // [heads, tokens] each, heads `scale_stride` apart.
  const float* q_scales;
  const float* k_scales;
  const float* v_scales;
  int64_t scale_stride;
  const int32_t* offsets;  // [sequences + 1]; no sequence is longer than kMostByteKeys
  int64_t sequences;
  int64_t heads;
  int64_t head_size;
  float* out;  // [tokens, heads * head_size], what float16 holds of it
  int64_t out_stride;
  PositionBias bias;
  bool first_only;  // of each sequence only the first token's row of `out`
};

// out = softmax(q k^T / sqrt(head_size) + bias) v, sequence by sequence and head by head. Scratch comes from the arenas
// of the threads that run it.
void attention_bytes(const AttentionBytes& arguments, const Context& context);

}  // namespace whittle
