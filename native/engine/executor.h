// Runs ragged batches through a packed model. Scratch memory is that of the threads: once a batch has run, neither it
// nor one of fewer or shorter sequences allocates anything.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/batcher.h"
#include "engine/packed_model.h"

namespace whittle {

// logits: [sequences, labels] (text classification) or [tokens, labels]; hidden: [tokens, hidden], the last layer's
// states; pooled: [sequences, hidden], the pooler's; mean: [sequences, hidden], of the last layer's states of all
// tokens of a sequence; first: [sequences, hidden], that of its first token.
enum class Output : int { logits = 0, hidden, pooled, mean, first };

// Rows and columns of an output. Throws Error BAD_OPTION if the model has no such output.
struct OutputShape {
  int64_t rows, columns;
};
OutputShape output_shape(const PackedModel& model, const RaggedBatch& batch, Output output);

// Functions that capture one pointer at most are kept in place, without an allocation.
struct RunControl {
  std::function<bool()> aborted;                   // asked between layers
  std::function<void(int64_t, int64_t)> progress;  // sequences done, sequences in all
};

class Executor {
 public:
  // out: output_shape(...). The batch must have passed check_batch. Every row of the result depends on its own
  // sequence alone: not on the batch around it, and not on `threads`. Throws Error ABORTED.
  void run(const PackedModel& model, const RaggedBatch& batch, Output output, int threads, float* out,
           const RunControl& control);

  // Room for the caller's copy of a batch.
  std::vector<int32_t> input_ids, token_type_ids, offsets;

 private:
  std::vector<Chunk> chunks_;
};

}  // namespace whittle
