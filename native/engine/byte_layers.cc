#include "engine/byte_layers.h"

#include <algorithm>
#include <cstring>

#include "ops/attention_rows.h"

namespace whittle {

namespace {

// Rows that go through the feed-forward layers together: [48, intermediate] floats and bytes of a base model, 740 KB,
// fit into L2.
constexpr int64_t kBlockRows = 48;
// Rows of a block when several threads share a chunk: fewer, so that they finish together, but enough to be worth
// reading the weights for.
constexpr int64_t kFewestRows = 8;

}  // namespace

ByteLayers::ByteLayers(const PackedModel& model, const ChunkRows& chunk, bool first_rows_only, float* x,
                       const Context& context)
    : model_(model), chunk_(chunk), first_rows_only_(first_rows_only), context_(context), x_(x) {
  const int64_t tokens = chunk.tokens(), hidden = model.hidden;
  bytes_ = ByteRows::take(context.arena, tokens, hidden, false, true);
  qkv_stride_ = (padded_k(3 * hidden) / 32 | 1) * 32;  // an odd number of cache lines
  qkv_ = context.arena.take<bf16>(tokens * qkv_stride_);
  attended_ = context.arena.take<float>(tokens * hidden);
}

// Calls body(row, rows) for blocks of rows, on all threads.
template <typename Body>
void ByteLayers::for_each_block(int64_t rows, const Body& body) const {
  const int64_t threads = context_.threads;
  // As many blocks as divide evenly among the threads.
  const int64_t rounds = (rows + kBlockRows * threads - 1) / (kBlockRows * threads);
  const int64_t blocks = std::clamp<int64_t>(rows / kFewestRows, 1, rounds * threads);
  context_.pool.run(blocks, context_.threads, [&](int64_t block) {
    const int64_t begin = rows * block / blocks, end = rows * (block + 1) / blocks;
    body(begin, end - begin);
  });
}

void ByteLayers::begin() {
  const int64_t hidden = model_.hidden;
  const Norm& norm = model_.embedding_norm;
  for_each_block(chunk_.tokens(), [&](int64_t row, int64_t rows) {
    float* x = x_ + row * hidden;
    const ByteRows bytes = bytes_.from(row);
    model_.kernels.layer_norm_u8(x, hidden, rows, hidden, norm.gamma.data(), norm.beta.data(), model_.norm_epsilon, x,
                                 hidden, kNormOutliers, bytes.data, bytes.stride, bytes.scales, bytes.outliers);
    query_key_value(0, row, rows);
  });
}

void ByteLayers::query_key_value(size_t index, int64_t row, int64_t rows) {
  const PackedLinear& linear = model_.layers[index].qkv;
  const LinearBytes g = {bytes_.from(row), rows, &linear.weight, linear.bias.data(), 0, linear.weight.n};
  linear_bytes(g, qkv_ + row * qkv_stride_, qkv_stride_, model_.kernels, thread_arena());
}

void ByteLayers::attend(size_t index) {
  const int64_t hidden = model_.hidden;
  PositionBias bias;
  if (!model_.position_bias.empty()) bias = {model_.position_bias.data(), model_.positions - model_.position_offset};
  const bool first_only = first_rows_only_ && index + 1 == model_.layers.size();
  attention_rows({qkv_, qkv_ + hidden, qkv_ + 2 * hidden, qkv_stride_, chunk_.offsets, chunk_.sequences, model_.heads,
                  model_.head_size, attended_, hidden, bias, first_only},
                 context_);
}

void ChunkRows::keep_first_rows(float* x, int64_t width) const {
  for (int64_t s = 0; s < sequences; ++s)
    std::memmove(x + s * width, x + offsets[s] * width, static_cast<size_t>(width) * sizeof(float));
}

// Everything of a layer after the attention: output projection, residual, norm, feed-forward, residual, norm.
void ByteLayers::finish(const PackedLayer& layer, int64_t row, int64_t rows) {
  const int64_t hidden = model_.hidden, inner_size = model_.intermediate;
  const KernelTable& kernels = model_.kernels;
  Arena& arena = thread_arena();
  const Arena::Scope scope(arena);
  float* inner = arena.take<float>(rows * inner_size);
  float* sum = arena.take<float>(rows * hidden);
  const ByteRows attended = ByteRows::take(arena, rows, hidden, false, false);
  const ByteRows activated = ByteRows::take(arena, rows, inner_size, true, false);
  float* x = x_ + row * hidden;
  const ByteRows bytes = bytes_.from(row);
  const auto apply = [&](const PackedLinear& linear, const ByteRows& input, Activation activation, bool add_x,
                         float* y) {
    const int64_t n = linear.weight.n;
    linear_bytes({input, rows, &linear.weight, linear.bias.data(), 0, n}, activation, add_x ? x : nullptr, hidden, y, n,
                 kernels, arena);
  };
  const auto normalize = [&](const Norm& norm) {
    kernels.layer_norm_u8(sum, hidden, rows, hidden, norm.gamma.data(), norm.beta.data(), model_.norm_epsilon, x,
                          hidden, kNormOutliers, bytes.data, bytes.stride, bytes.scales, bytes.outliers);
  };
  kernels.quantize_rows_u8(attended_ + row * hidden, hidden, rows, hidden, 0, attended.data, attended.stride,
                           attended.scales, nullptr);
  apply(layer.attention_output, attended, Activation::none, true, sum);
  normalize(layer.attention_norm);
  apply(layer.intermediate, bytes, Activation::gelu, false, inner);
  kernels.quantize_gelu_u8(inner, inner_size, rows, inner_size, activated.data, activated.stride, activated.scales,
                           activated.offsets);
  apply(layer.output, activated, Activation::none, true, sum);
  normalize(layer.output_norm);
}

void ByteLayers::layer(size_t index) {
  const bool last = index + 1 == model_.layers.size();
  attend(index);
  // What follows works row by row, so the last layer need not do it for rows that nobody reads.
  const bool first_only = last && first_rows_only_;
  if (first_only) {
    chunk_.keep_first_rows(x_, model_.hidden);
    chunk_.keep_first_rows(attended_, model_.hidden);
  }
  for_each_block(first_only ? chunk_.sequences : chunk_.tokens(), [&](int64_t row, int64_t rows) {
    finish(model_.layers[index], row, rows);
    if (!last) query_key_value(index + 1, row, rows);
  });
}

}  // namespace whittle
