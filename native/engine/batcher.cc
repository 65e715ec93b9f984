#include "engine/batcher.h"

#include <algorithm>
#include <string>

#include "cpu/error.h"

namespace whittle {

namespace {

// A layer of MiniLM has 1.8 MB of int8 weights; 128 tokens multiply each of them 128 times, and the activations of 128
// tokens (about 1 MB) stay in L2.
constexpr int64_t kMostTokens = 128;
constexpr int64_t kFewestTokens = 32;

[[noreturn]] void refuse(const std::string& message) {
  throw Error("BAD_OPTION", message);
}

}  // namespace

void check_batch(const RaggedBatch& batch, int64_t tokens, int64_t offset_count, const BatchLimits& limits) {
  if (offset_count != batch.sequences + 1 || offset_count < 1)
    refuse("Expected offsets to have one element more than there are sequences but found " +
           std::to_string(offset_count));
  if (batch.offsets[0] != 0) refuse("Expected offsets to begin with 0 but found " + std::to_string(batch.offsets[0]));
  for (int64_t i = 0; i < batch.sequences; ++i) {
    const int64_t length = int64_t{batch.offsets[i + 1]} - batch.offsets[i];
    if (length < 1 || batch.offsets[i + 1] > tokens)
      refuse("Expected offsets to grow up to the " + std::to_string(tokens) + " tokens but sequence " +
             std::to_string(i) + " goes from " + std::to_string(batch.offsets[i]) + " to " +
             std::to_string(batch.offsets[i + 1]));
    if (length > limits.length)
      refuse("Expected at most " + std::to_string(limits.length) + " tokens a sequence but sequence " +
             std::to_string(i) + " has " + std::to_string(length));
  }
  if (batch.offsets[batch.sequences] != tokens)
    refuse("Expected offsets to end with the " + std::to_string(tokens) + " tokens but found " +
           std::to_string(batch.offsets[batch.sequences]));
  for (int64_t i = 0; i < tokens; ++i) {
    if (batch.input_ids[i] < 0 || batch.input_ids[i] >= limits.vocabulary)
      refuse("Expected input ids from 0 to " + std::to_string(limits.vocabulary - 1) + " but token " +
             std::to_string(i) + " has " + std::to_string(batch.input_ids[i]));
    if (limits.token_types > 0 && (batch.token_type_ids[i] < 0 || batch.token_type_ids[i] >= limits.token_types))
      refuse("Expected token type ids from 0 to " + std::to_string(limits.token_types - 1) + " but token " +
             std::to_string(i) + " has " + std::to_string(batch.token_type_ids[i]));
  }
}

int64_t target_tokens(int64_t tokens, int threads) {
  return std::clamp<int64_t>(tokens / (int64_t{4} * threads), kFewestTokens, kMostTokens);
}

void plan_chunks(const RaggedBatch& batch, int threads, std::vector<Chunk>& chunks) {
  chunks.clear();
  const int64_t target = target_tokens(batch.tokens(), threads);
  for (int64_t i = 0; i < batch.sequences; ++i) {
    const bool fits = !chunks.empty() && batch.offsets[i + 1] - batch.offsets[chunks.back().first] <= target;
    if (fits)
      chunks.back().last = i + 1;
    else
      chunks.push_back({i, i + 1});
  }
}

}  // namespace whittle
