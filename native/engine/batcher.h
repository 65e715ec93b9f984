// Ragged batches: their checking, and their division into chunks that run on one thread each.
#pragma once

#include <cstdint>
#include <vector>

namespace whittle {

// Sequences end to end, without padding.
struct RaggedBatch {
  const int32_t* input_ids;       // [tokens]
  const int32_t* token_type_ids;  // [tokens]
  const int32_t* offsets;         // [sequences + 1]; sequence i is tokens offsets[i] up to offsets[i + 1]
  int64_t sequences;

  int64_t tokens() const { return offsets[sequences]; }
};

struct BatchLimits {
  int64_t vocabulary, token_types;
  int64_t length;  // longest sequence
};

// Throws Error BAD_OPTION naming the first token or sequence that breaks the limits. `tokens` is the length of the two
// id arrays, `offset_count` that of the offsets.
void check_batch(const RaggedBatch& batch, int64_t tokens, int64_t offset_count, const BatchLimits& limits);

struct Chunk {
  int64_t first, last;  // sequences [first, last)
};

// Consecutive sequences, at least one a chunk, together at most `target_tokens(...)` tokens where a sequence is not
// longer by itself. Reuses the memory of `chunks`.
void plan_chunks(const RaggedBatch& batch, int threads, std::vector<Chunk>& chunks);

// Tokens of a chunk: as many as amortize reading the weights of a layer, fewer if threads would stay idle.
int64_t target_tokens(int64_t tokens, int threads);

}  // namespace whittle
