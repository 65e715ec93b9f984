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
// leaves beside them. There are two ways through a layer, with the same results:
// By rows: rows are worked on in blocks that stay in the second-level cache; the only step at which threads meet is the
// attention, which needs rows of others: twice a layer.
// By columns: threads that share few rows would all read all weights, which takes longer than to multiply by them, or
// there are not enough rows for all. They divide the columns of every product instead, so that each weight is read by
// one thread, and meet after each.
class ByteLayers {
 public:
  // x [tokens, hidden]: sums of embeddings in, the last layer's states out. first_rows_only: x out is [sequences,
  // hidden], the states of the first tokens. Memory comes from the context's arena, within the caller's scope.
  // few_rows: what few_rows() gives for the run's threads, which may be more than the context has.
  ByteLayers(const PackedModel& model, const ChunkRows& chunk, bool first_rows_only, float* x, int64_t few_rows,
             const Context& context);

  // Most rows that so many threads work on by columns.
  static int64_t few_rows(const PackedModel& model, int threads);
  // Bytes of weights of all layers that may stay in the third-level cache from one call to the next: from there reading
  // them by all threads is cheaper than meeting more often. Tests of small models lower it.
  static inline int64_t cached_weights = int64_t{32} << 20;

  // LayerNorm of the embeddings and, by rows, query, key and value of layer 0.
  void begin();
  // All of a layer; by rows, all but its query, key and value, and then those of the next.
  void layer(size_t index);

 private:
  struct Buffers;

  bool by_columns(int64_t rows) const;
  template <typename Body>
  void for_each_block(int64_t rows, const Body& body) const;
  template <typename Body>
  void for_each_range(int64_t units, const Body& body) const;
  void normalize(const Norm& norm, const float* sums, int64_t row, int64_t rows);
  void query_key_value(size_t index, int64_t row, int64_t rows);
  void attend(size_t index, int64_t first_head, int64_t heads, const Context& context);
  void finish(const PackedLayer& layer, int64_t row, int64_t rows);
  void attend_by_columns(size_t index);
  void multiply_by_columns(const PackedLinear& linear, const ByteRows& input, int64_t rows, Activation activation,
                           const float* residual, float* y);
  void finish_by_columns(const PackedLayer& layer, int64_t rows);

  const PackedModel& model_;
  const ChunkRows chunk_;
  const bool first_rows_only_;
  const Context& context_;
  const int64_t few_rows_;
  const int64_t head_group_;  // so many heads begin and end at columns where products may be cut; 0: no number of them
  const bool by_columns_;     // all layers; the last one may be finished by columns even if not
  float* x_;
  ByteRows bytes_;  // of x_
  HeadRows qkv_;     // [tokens, 3 * hidden]
  float* attended_;  // [tokens, hidden]
};

}  // namespace whittle
