#include "training/embedding.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "cpu/error.h"
#include "ops/embedding.h"
#include "training/hidden_dropout.h"
#include "training/partial_sums.h"

namespace whittle {

namespace {

constexpr int64_t kBlock = 64;  // tokens of one task, and of one partial sum

// Position ids [tokens], in the arena.
int32_t* position_ids(const EmbeddingBatch& batch, const EmbeddingOptions& options, Arena& arena) {
  int32_t* ids = arena.take<int32_t>(batch.tokens());
  for (int64_t s = 0; s < batch.sequences; ++s) {
    const int64_t begin = batch.offsets[s], end = batch.offsets[s + 1];
    if (end - begin > options.positions - options.position_offset) {
      throw Error("BAD_OPTION",
                  "Expected sequences of at most " + std::to_string(options.positions - options.position_offset) +
                      " tokens but sequence " + std::to_string(s) + " has " + std::to_string(end - begin));
    }
    for (int64_t i = begin; i < end; ++i) ids[i] = static_cast<int32_t>(options.position_offset + i - begin);
  }
  return ids;
}

void check_ids(const char* name, const int32_t* ids, int64_t count, int64_t rows) {
  for (int64_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= rows) {
      throw Error("BAD_OPTION", std::string("Expected ") + name + " from 0 to " + std::to_string(rows - 1) + " but " +
                                    name + "[" + std::to_string(i) + "] is " + std::to_string(ids[i]));
    }
  }
}

// Sums of the three rows of tokens [begin, end), in the order that the forward and the backward pass share.
void sum_rows(const EmbeddingBatch& batch, const EmbeddingOptions& options, const EmbeddingTensors<const float>& p,
              const int32_t* positions, int64_t begin, int64_t end, float* sums, const KernelTable& kernels) {
  const int64_t hidden = options.hidden;
  for (int64_t i = begin; i < end; ++i) {
    float* row = sums + (i - begin) * hidden;
    kernels.epilogue_f32(p.word + batch.input_ids[i] * hidden, hidden, 1, hidden, p.position + positions[i] * hidden,
                         Activation::none, p.token_type ? p.token_type + batch.token_type_ids[i] * hidden : nullptr,
                         hidden, row, hidden);
  }
}

HiddenDropout embedding_dropout(const EmbeddingOptions& options, const KernelTable& kernels) {
  return HiddenDropout({options.dropout, options.seed, options.step, 0, DropoutSite::embedding}, options.hidden,
                       kernels);
}

template <typename Body>
void token_blocks(int64_t tokens, const Context& context, const Body& body) {
  context.pool.run((tokens + kBlock - 1) / kBlock, context.threads,
                   [&](int64_t block) { body(block, block * kBlock, std::min((block + 1) * kBlock, tokens)); });
}

}  // namespace

void embedding_forward(const EmbeddingBatch& batch, const EmbeddingOptions& options,
                       const EmbeddingTensors<const float>& p, float* y, float* saved, const Context& context) {
  const int64_t tokens = batch.tokens(), hidden = options.hidden;
  Arena::Scope scope(context.arena);
  check_ids("inputIds", batch.input_ids, tokens, options.vocabulary);
  if (p.token_type) check_ids("tokenTypeIds", batch.token_type_ids, tokens, options.token_types);
  const int32_t* positions = position_ids(batch, options, context.arena);
  const HiddenDropout dropout = embedding_dropout(options, context.kernels);
  token_blocks(tokens, context, [&](int64_t, int64_t begin, int64_t end) {
    float* rows = y + begin * hidden;
    sum_rows(batch, options, p, positions, begin, end, rows, context.kernels);
    context.kernels.layer_norm(rows, hidden, end - begin, hidden, p.norm_weight, p.norm_bias, options.norm_epsilon,
                               rows, hidden, saved ? saved + begin : nullptr, saved ? saved + tokens + begin : nullptr);
    if (options.dropout > 0) dropout.forward(rows, begin, end, nullptr, nullptr, rows);
  });
}

void embedding_backward(const EmbeddingBatch& batch, const EmbeddingOptions& options,
                        const EmbeddingTensors<const float>& p, const float* saved, const float* dy,
                        const EmbeddingTensors<float>& gradients, const Context& context) {
  const int64_t tokens = batch.tokens(), hidden = options.hidden;
  Arena::Scope scope(context.arena);
  check_ids("inputIds", batch.input_ids, tokens, options.vocabulary);
  if (p.token_type) check_ids("tokenTypeIds", batch.token_type_ids, tokens, options.token_types);
  const int32_t* positions = position_ids(batch, options, context.arena);
  const HiddenDropout dropout = embedding_dropout(options, context.kernels);
  float* sum_gradient = context.arena.take<float>(tokens * hidden);
  const int64_t blocks = (tokens + kBlock - 1) / kBlock;
  const PartialSums norm_weight(blocks, hidden, context.arena), norm_bias(blocks, hidden, context.arena);
  token_blocks(tokens, context, [&](int64_t block, int64_t begin, int64_t end) {
    Arena::Scope block_scope(thread_arena());
    float* sums = thread_arena().take<float>((end - begin) * hidden);
    float* normed_gradient = thread_arena().take<float>((end - begin) * hidden);
    sum_rows(batch, options, p, positions, begin, end, sums, context.kernels);
    dropout.backward(dy + begin * hidden, begin, end, normed_gradient);
    context.kernels.layer_norm_backward(normed_gradient, sums, p.norm_weight, saved + begin, saved + tokens + begin,
                                        end - begin, hidden, sum_gradient + begin * hidden, norm_weight.of(block),
                                        norm_bias.of(block));
  });
  norm_weight.merge(gradients.norm_weight, context.kernels);
  norm_bias.merge(gradients.norm_bias, context.kernels);
  if (gradients.word) {
    scatter_add_rows(sum_gradient, batch.input_ids, tokens, options.vocabulary, hidden, gradients.word, context);
  }
  if (gradients.position) {
    scatter_add_rows(sum_gradient, positions, tokens, options.positions, hidden, gradients.position, context);
  }
  if (gradients.token_type && p.token_type) {
    scatter_add_rows(sum_gradient, batch.token_type_ids, tokens, options.token_types, hidden, gradients.token_type,
                     context);
  }
}

}  // namespace whittle
