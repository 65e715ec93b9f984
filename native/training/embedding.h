// The input of an encoder: dropout(LayerNorm(word + position + token type)), forward and backward, over a ragged batch.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace whittle {

struct EmbeddingBatch {
  const int32_t* input_ids;       // [tokens]
  const int32_t* token_type_ids;  // [tokens]
  const int32_t* offsets;         // [sequences + 1]
  int64_t sequences;

  int64_t tokens() const { return offsets[sequences]; }
};

struct EmbeddingOptions {
  int64_t hidden;
  int64_t vocabulary, positions, token_types;  // rows of the tables; token_types 0: none
  int64_t position_offset;                     // of the first token of a sequence
  float norm_epsilon;
  float dropout;  // rate; 0: none
  uint64_t seed;
  uint32_t step;
};

// The parameters (T = const float) or their gradients (T = float), where null means not wanted.
template <typename T>
struct EmbeddingTensors {
  T* word;         // [vocabulary, hidden]
  T* position;     // [positions, hidden]
  T* token_type;   // [token_types, hidden]
  T* norm_weight;  // [hidden]
  T* norm_bias;    // [hidden]
};

inline int64_t embedding_saved_floats(int64_t tokens) {
  return 2 * tokens;  // mean and rstd
}

// y [tokens, hidden]. saved: embedding_saved_floats, or null. Throws BAD_OPTION for an id outside its table and for a
// sequence with more tokens than there are positions.
void embedding_forward(const EmbeddingBatch& batch, const EmbeddingOptions& options,
                       const EmbeddingTensors<const float>& parameters, float* y, float* saved, const Context& context);

// Gradients from dy [tokens, hidden]: of the tables only the rows that occur in the batch are written.
void embedding_backward(const EmbeddingBatch& batch, const EmbeddingOptions& options,
                        const EmbeddingTensors<const float>& parameters, const float* saved, const float* dy,
                        const EmbeddingTensors<float>& gradients, const Context& context);

}  // namespace whittle
