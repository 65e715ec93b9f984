// The layers of an int8 encoder over one chunk of a ragged batch.
#pragma once

#include <cstdint>

#include "engine/packed_model.h"
#include "ops/context.h"
#include "ops/linear_bytes.h"

namespace whittle {

// The sequences of a chunk, end to end.
struct ChunkRows {
  const int32_t* offsets;  // [sequences + 1], from 0
  int64_t sequences;
  int64_t tokens() const { return offsets[sequences]; }
  // Moves the rows of the first tokens of x [tokens, width] to the front.
  void keep_first_rows(float* x, int64_t width) const;
};

// Activations go from layer to layer as float32 rows, for the residual, and as the same rows in bytes, which LayerNorm
// leaves beside them. Rows are worked on in blocks that stay in the second-level cache; the only step at which threads
// meet is the attention, which needs rows of others: twice a layer.
class ByteLayers {
 public:
  // x [tokens, hidden]: sums of embeddings in, the last layer's states out. first_rows_only: x out is [sequences,
  // hidden], the states of the first tokens. Memory comes from the context's arena, within the caller's scope.
  ByteLayers(const PackedModel& model, const ChunkRows& chunk, bool first_rows_only, float* x, const Context& context);

  void begin();              // LayerNorm of the embeddings, query, key and value of layer 0
  void layer(size_t index);  // all of a layer but its query, key and value, and then those of the next

 private:
  template <typename Body>
  void for_each_block(int64_t rows, const Body& body) const;
  void query_key_value(size_t index, int64_t row, int64_t rows);
  void attend(size_t index);
  void finish(const PackedLayer& layer, int64_t row, int64_t rows);

  const PackedModel& model_;
  const ChunkRows chunk_;
  const bool first_rows_only_;
  const Context& context_;
  float* x_;
  ByteRows bytes_;  // of x_
  int64_t qkv_stride_;
  bf16* qkv_;        // [tokens, 3 * hidden]
  float* attended_;  // [tokens, hidden]
};

}  // namespace whittle
