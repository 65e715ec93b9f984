#include "engine/executor.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cpu/error.h"
#include "engine/byte_layers.h"
#include "ops/attention.h"

namespace whittle {

namespace {

// Rows that go through the feed-forward layers together: [64, intermediate] floats of a base model fit into L2.
constexpr int64_t kBlockRows = 64;

// More where W has to serve more rows.
int64_t rows_of_block(const PackedModel& model) {
  const int64_t most = model.kernels.gemm_bf16.most_rows;
  const bool is_bf16 = model.layers.front().intermediate.weight.precision == Precision::bfloat16;
  return is_bf16 && most > kUsualMostRows ? most : kBlockRows;
}

void apply(const PackedLinear& layer, const float* x, int64_t rows, Activation activation, const float* residual,
           float* y, const Context& context) {
  const int64_t k = layer.weight.k, n = layer.weight.n;
  linear({x, k, rows, &layer.weight, layer.bias.data(), activation, residual, n, y, n}, context);
}

// x [tokens, hidden] of sequences [first, last): word + position + token type.
void embed(const PackedModel& model, const RaggedBatch& batch, const Chunk& chunk, float* x) {
  const int64_t hidden = model.hidden;
  float* row = x;
  for (int64_t s = chunk.first; s < chunk.last; ++s)
    for (int64_t t = batch.offsets[s]; t < batch.offsets[s + 1]; ++t, row += hidden) {
      model.word.gather(batch.input_ids[t], row, model.kernels);
      const float* position = model.position.data() + (model.position_offset + t - batch.offsets[s]) * hidden;
      if (model.token_types > 0) {
        const float* type = model.token_type.data() + batch.token_type_ids[t] * hidden;
        for (int64_t c = 0; c < hidden; ++c) row[c] = row[c] + type[c] + position[c];
      } else {
        for (int64_t c = 0; c < hidden; ++c) row[c] += position[c];
      }
    }
}

// Everything of a layer after the attention, in blocks of rows: output projection, residual, norm, feed-forward,
// residual, norm. attended, x: [rows, hidden]; x is updated.
void finish_layer(const PackedModel& model, const PackedLayer& layer, const float* attended, int64_t rows, float* x,
                  const Context& context) {
  const int64_t hidden = model.hidden;
  const Arena::Scope scope(context.arena);
  const int64_t block_rows = rows_of_block(model), most = std::min(rows, block_rows);
  float* inner = context.arena.take<float>(most * model.intermediate);
  float* sum = context.arena.take<float>(most * hidden);
  const auto normalize = [&](const Norm& norm, int64_t count, float* y) {
    model.kernels.layer_norm(sum, hidden, count, hidden, norm.gamma.data(), norm.beta.data(), model.norm_epsilon, y,
                             hidden, nullptr, nullptr);
  };
  for (int64_t begin = 0; begin < rows; begin += block_rows) {
    const int64_t count = std::min(block_rows, rows - begin);
    float* block = x + begin * hidden;
    apply(layer.attention_output, attended + begin * hidden, count, Activation::none, block, sum, context);
    normalize(layer.attention_norm, count, block);
    apply(layer.intermediate, block, count, Activation::gelu, nullptr, inner, context);
    apply(layer.output, inner, count, Activation::none, block, sum, context);
    normalize(layer.output_norm, count, block);
  }
}

// pooled [sequences, hidden] from the first tokens' states x.
void pool(const PackedModel& model, const float* x, int64_t sequences, float* pooled, const Context& context) {
  const PoolerActivation kind = model.pooler_activation;
  const Activation activation = kind == PoolerActivation::tanh   ? Activation::tanh
                                : kind == PoolerActivation::gelu ? Activation::gelu
                                                                 : Activation::none;
  apply(model.pooler, x, sequences, activation, nullptr, pooled, context);
  if (kind != PoolerActivation::relu) return;
  for (int64_t i = 0; i < sequences * model.hidden; ++i) pooled[i] = std::max(pooled[i], 0.0f);
}

// out [sequences, hidden]: the mean of each sequence's rows of x [tokens, hidden], summed from the first to the last.
void mean_rows(const float* x, const int32_t* offsets, int64_t sequences, int64_t hidden, float* out) {
  for (int64_t s = 0; s < sequences; ++s, out += hidden) {
    std::memset(out, 0, static_cast<size_t>(hidden) * sizeof(float));
    for (int64_t t = offsets[s]; t < offsets[s + 1]; ++t)
      for (int64_t c = 0; c < hidden; ++c) out[c] += x[t * hidden + c];
    const float scale = 1.0f / static_cast<float>(offsets[s + 1] - offsets[s]);
    for (int64_t c = 0; c < hidden; ++c) out[c] *= scale;
  }
}

// Chunks that threads share take more memory for products than chunks of one thread each; counts it as if both came.
void expect_scratch(const PackedModel& model, int64_t tokens, int threads, Arena& arena) {
  const PackedLayer& layer = model.layers.front();
  const int64_t most = std::min(tokens, rows_of_block(model));
  const auto scratch = [&](const PackedLinear& linear, int64_t rows) {
    return most_linear_scratch(linear.weight, rows, threads, model.kernels);
  };
  const int64_t finish = most * (model.intermediate + model.hidden) * static_cast<int64_t>(sizeof(float)) +
                         2 * static_cast<int64_t>(kAlignment) +
                         std::max(scratch(layer.intermediate, most), scratch(layer.output, most));
  arena.expect(std::max(scratch(layer.qkv, tokens), finish));
}

// The encoder in float32 or bfloat16. x [tokens, hidden]: sums of embeddings in, the last layer's states out, of the
// first tokens alone if first_rows_only. threads: of the run. False if stopped.
template <typename Stop>
bool run_layers(const PackedModel& model, const ChunkRows& chunk, bool first_rows_only, float* x, int threads,
                const Context& context, const Stop& stop) {
  const Arena::Scope scope(context.arena);
  const int64_t hidden = model.hidden, tokens = chunk.tokens();
  float* qkv = context.arena.take<float>(tokens * 3 * hidden);
  float* attended = context.arena.take<float>(tokens * hidden);
  expect_scratch(model, tokens, threads, context.arena);
  const Norm& norm = model.embedding_norm;
  model.kernels.layer_norm(x, hidden, tokens, hidden, norm.gamma.data(), norm.beta.data(), model.norm_epsilon, x,
                           hidden, nullptr, nullptr);
  PositionBias bias;
  if (!model.position_bias.empty()) bias = {model.position_bias.data(), model.positions - model.position_offset};
  for (size_t i = 0; i < model.layers.size(); ++i) {
    if (stop()) return false;
    const PackedLayer& layer = model.layers[i];
    apply(layer.qkv, x, tokens, Activation::none, nullptr, qkv, context);
    attention({qkv, qkv + hidden, qkv + 2 * hidden, 3 * hidden, chunk.offsets, chunk.sequences, model.heads,
               model.head_size, attended, hidden, nullptr, bias},
              model.precision, context);
    // What follows works row by row, so the last layer need not do it for rows that nobody reads.
    const bool first_only = first_rows_only && i + 1 == model.layers.size();
    if (first_only) {
      chunk.keep_first_rows(x, hidden);
      chunk.keep_first_rows(attended, hidden);
    }
    finish_layer(model, layer, attended, first_only ? chunk.sequences : tokens, x, context);
  }
  return true;
}

// The same in int8.
template <typename Stop>
bool run_byte_layers(const PackedModel& model, const ChunkRows& chunk, bool first_rows_only, float* x, int threads,
                     const Context& context, const Stop& stop) {
  const Arena::Scope scope(context.arena);
  ByteLayers layers(model, chunk, first_rows_only, x, ByteLayers::few_rows(model, threads), context);
  layers.begin();
  for (size_t i = 0; i < model.layers.size(); ++i) {
    if (stop()) return false;
    layers.layer(i);
  }
  return true;
}

// One chunk from ids to its part of the output. threads: of the run; `stop` is asked between layers.
template <typename Stop>
void run_chunk(const PackedModel& model, const RaggedBatch& batch, const Chunk& chunk, Output output, int threads,
               float* out, const Context& context, const Stop& stop) {
  const Arena::Scope scope(context.arena);
  const int64_t hidden = model.hidden;
  const int64_t sequences = chunk.last - chunk.first;
  const int64_t first_token = batch.offsets[chunk.first];
  const int64_t tokens = batch.offsets[chunk.last] - first_token;
  const bool first_rows_only = output == Output::pooled || output == Output::first ||
                               (output == Output::logits && model.task == HeadTask::text_classification);

  float* x = context.arena.take<float>(tokens * hidden);
  int32_t* offsets = context.arena.take<int32_t>(sequences + 1);
  for (int64_t s = 0; s <= sequences; ++s)
    offsets[s] = batch.offsets[chunk.first + s] - static_cast<int32_t>(first_token);

  embed(model, batch, chunk, x);
  const ChunkRows rows = {offsets, sequences};
  const bool finished = model.precision == Precision::int8
                            ? run_byte_layers(model, rows, first_rows_only, x, threads, context, stop)
                            : run_layers(model, rows, first_rows_only, x, threads, context, stop);
  if (!finished) return;
  if (output == Output::mean) {
    mean_rows(x, offsets, sequences, hidden, out + chunk.first * hidden);
  } else if (output == Output::first) {
    std::memcpy(out + chunk.first * hidden, x, static_cast<size_t>(sequences * hidden) * sizeof(float));
  } else if (first_rows_only) {
    float* pooled =
        output == Output::pooled ? out + chunk.first * hidden : context.arena.take<float>(sequences * hidden);
    pool(model, x, sequences, pooled, context);
    if (output == Output::logits)
      apply(model.classifier, pooled, sequences, Activation::none, nullptr, out + chunk.first * model.labels, context);
  } else if (output == Output::logits) {
    apply(model.classifier, x, tokens, Activation::none, nullptr, out + first_token * model.labels, context);
  } else {
    std::memcpy(out + first_token * hidden, x, static_cast<size_t>(tokens * hidden) * sizeof(float));
  }
}

}  // namespace

OutputShape output_shape(const PackedModel& model, const RaggedBatch& batch, Output output) {
  if (output == Output::hidden) return {batch.tokens(), model.hidden};
  if (output == Output::pooled) {
    if (!model.has_pooler)
      throw Error("BAD_OPTION", "Expected output logits, hidden, mean or first: the model has no pooler");
    return {batch.sequences, model.hidden};
  }
  if (output == Output::mean || output == Output::first) return {batch.sequences, model.hidden};
  if (model.task == HeadTask::none)
    throw Error("BAD_OPTION", "Expected output hidden, pooled, mean or first: the model has no head that gives logits");
  return {model.task == HeadTask::text_classification ? batch.sequences : batch.tokens(), model.labels};
}

void Executor::run(const PackedModel& model, const RaggedBatch& batch, Output output, int threads, float* out,
                   const RunControl& control) {
  if (batch.sequences == 0) return;
  const LentArena lent;
  plan_chunks(batch, threads, chunks_);
  // Few chunks: one after the other, each operation on all threads. Many: one a thread.
  const int64_t count = static_cast<int64_t>(chunks_.size());
  const bool by_chunk = count >= threads;
  const int64_t workers = by_chunk ? threads : 1;
  // The longest first: what is left when the first thread finds nothing more to do is short then.
  if (by_chunk) {
    const auto tokens = [&](const Chunk& chunk) { return batch.offsets[chunk.last] - batch.offsets[chunk.first]; };
    std::sort(chunks_.begin(), chunks_.end(), [&](const Chunk& a, const Chunk& b) { return tokens(a) > tokens(b); });
  }

  std::atomic<int64_t> next{0}, done{0};
  std::atomic<bool> stopped{false};
  const auto stop = [&] {
    if (control.aborted && control.aborted()) stopped = true;
    return stopped.load(std::memory_order_relaxed);
  };
  const auto work = [&](int64_t) {
    const Context context{model.kernels, ThreadPool::instance(), by_chunk ? 1 : threads, thread_arena()};
    for (int64_t i = next++; i < count && !stopped; i = next++) {
      const Chunk& chunk = chunks_[static_cast<size_t>(i)];
      run_chunk(model, batch, chunk, output, threads, out, context, stop);
      const int64_t finished = done += chunk.last - chunk.first;
      if (control.progress && !stopped) control.progress(finished, batch.sequences);
    }
  };
  // Inside a task of the pool nothing may run on the pool, so a single worker does without it.
  if (workers == 1)
    work(0);
  else
    ThreadPool::instance().run(workers, threads, work);
  ThreadPool::instance().settle_arenas(threads);
  if (stopped) throw Error("ABORTED", "Stopped by the caller's signal");
}

}  // namespace whittle
