#include "engine/byte_layers.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "ops/attention_bytes.h"

namespace whittle {

namespace {

// Rows that go through the feed-forward layers together: [48, intermediate] floats and bytes of a base model, 740 KB,
// fit into L2.
constexpr int64_t kBlockRows = 48;
// Where tiles multiply 1,024 bytes a cycle, 48 rows would need 21 bytes of weights a cycle from beyond L2, twice what
// comes from there; rows of activations that leave L2 cost less.
constexpr int64_t kBlockRowsOfTiles = 192;
// Rows of a block when several threads share a chunk: fewer, so that they finish together, but enough to be worth
// reading the weights for.
constexpr int64_t kFewestRows = 8;
// Rows a thread that take about as long to multiply by weights as those take to come from memory.
constexpr int64_t kFewRows = 32;
// Columns of products are cut at multiples of this, which is one of every ISA's panel too.
constexpr int64_t kColumns = 64;

}  // namespace

// The operands of a layer's last three products.
struct ByteLayers::Buffers {
  float* inner;  // [rows, intermediate]
  float* sum;    // [rows, hidden]
  ByteRows attended, activated;
  Buffers(const PackedModel& model, int64_t rows, Arena& arena)
      : inner(arena.take<float>(rows * model.intermediate)),
        sum(arena.take<float>(rows * model.hidden)),
        attended(ByteRows::take(arena, rows, model.hidden, false, false)),
        activated(ByteRows::take(arena, rows, model.intermediate, true, false)) {}
  // At least as many as these and a product over them take of the arena.
  static int64_t bytes(const PackedModel& model, int64_t rows) {
    const int64_t line = static_cast<int64_t>(kAlignment), columns = model.intermediate + model.hidden;
    return rows * (5 * columns + 5 * line) + 8 * line + kLinearBytesScratch;
  }
};

ByteLayers::ByteLayers(const PackedModel& model, const ChunkRows& chunk, bool first_rows_only, float* x,
                       int64_t few_rows, const Context& context)
    : model_(model),
      chunk_(chunk),
      first_rows_only_(first_rows_only),
      context_(context),
      few_rows_(few_rows),
      head_group_(model.hidden % kColumns == 0 ? kColumns / std::gcd(kColumns, model.head_size) : 0),
      by_columns_(by_columns(chunk.tokens())),
      x_(x) {
  const int64_t tokens = chunk.tokens(), hidden = model.hidden;
  bytes_ = ByteRows::take(context.arena, tokens, hidden, false, true);
  // An odd number of cache lines, as rows of bytes everywhere.
  const int64_t stride = (padded_k(3 * hidden) / 64 | 1) * 64;
  qkv_ = {context.arena.take<int8_t>(tokens * stride),
          stride,
          context.arena.take<float>(3 * model.heads * tokens),
          tokens,
          model.head_size,
          hidden};
  attended_ = context.arena.take<float>(tokens * hidden);
  context.arena.expect(Buffers::bytes(model, std::min(tokens, few_rows)));
}

int64_t ByteLayers::few_rows(const PackedModel& model, int threads) {
  if (threads <= 1) return 0;
  // As many threads as have columns of their own, and fewer rows than give each of them a block.
  const int64_t columns = model.hidden / kColumns;
  const int64_t too_few = std::max<int64_t>(0, kFewestRows * std::min<int64_t>(threads, columns) - 1);
  const int64_t layers = static_cast<int64_t>(model.layers.size());
  const int64_t weights = layers * model.hidden * (4 * model.hidden + 2 * model.intermediate);
  return weights > cached_weights && columns >= threads ? kFewRows * threads : too_few;
}

// Whether threads divide columns where there are `rows` rows.
bool ByteLayers::by_columns(int64_t rows) const {
  return context_.threads > 1 && head_group_ > 0 && rows <= few_rows_;
}

int64_t most_block_rows(const KernelTable& kernels) {
  return kernels.gemm_s8.run_finishing ? kBlockRowsOfTiles : kBlockRows;
}

// Calls body(row, rows) for blocks of rows, on all threads.
template <typename Body>
void ByteLayers::for_each_block(int64_t rows, const Body& body) const {
  const int64_t threads = context_.threads;
  // As many blocks as divide evenly among the threads.
  const int64_t most = most_block_rows(model_.kernels) * threads;
  const int64_t rounds = (rows + most - 1) / most;
  const int64_t blocks = std::clamp<int64_t>(rows / kFewestRows, 1, rounds * threads);
  context_.pool.run(blocks, context_.threads, [&](int64_t block) {
    const int64_t begin = rows * block / blocks, end = rows * (block + 1) / blocks;
    body(begin, end - begin);
  });
}

// Calls body(begin, end) for a part of [0, units) on each thread.
template <typename Body>
void ByteLayers::for_each_range(int64_t units, const Body& body) const {
  context_.pool.split(units, 1, context_.threads, body);
}

// x and bytes: LayerNorm of the sums [rows, hidden].
void ByteLayers::normalize(const Norm& norm, const float* sums, int64_t row, int64_t rows) {
  const int64_t hidden = model_.hidden;
  const ByteRows bytes = bytes_.from(row);
  model_.kernels.layer_norm_u8(sums, hidden, rows, hidden, norm.gamma.data(), norm.beta.data(), model_.norm_epsilon,
                               x_ + row * hidden, hidden, kNormOutliers, bytes.data, bytes.stride, bytes.scales,
                               bytes.outliers);
}

void ByteLayers::begin() {
  for_each_block(chunk_.tokens(), [&](int64_t row, int64_t rows) {
    normalize(model_.embedding_norm, x_ + row * model_.hidden, row, rows);
    if (!by_columns_) query_key_value(0, row, rows);
  });
}

void ByteLayers::query_key_value(size_t index, int64_t row, int64_t rows) {
  const PackedLinear& linear = model_.layers[index].qkv;
  const LinearBytes g = {bytes_.from(row), rows, &linear.weight, linear.bias.data(), 0, linear.weight.n};
  linear_bytes(g, qkv_.from(row), model_.kernels, thread_arena());
}

void ByteLayers::attend(size_t index, int64_t first_head, int64_t heads, const Context& context) {
  const int64_t hidden = model_.hidden, column = first_head * model_.head_size;
  PositionBias bias;
  if (!model_.position_bias.empty()) {
    bias = {model_.position_bias.data(), model_.positions - model_.position_offset};
    bias.data += first_head * bias.width();
  }
  const int8_t* q = qkv_.data + column;
  const float* scales = qkv_.scales + first_head * qkv_.scale_stride;
  const int64_t part = model_.heads * qkv_.scale_stride;  // of the scales: q, k or v
  const bool first_only = first_rows_only_ && index + 1 == model_.layers.size();
  attention_bytes({q, q + hidden, q + 2 * hidden, qkv_.stride, scales, scales + part, scales + 2 * part,
                   qkv_.scale_stride, chunk_.offsets, chunk_.sequences, heads, model_.head_size, attended_ + column,
                   hidden, bias, first_only},
                  context);
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
  // Fewer rows in all may be in larger blocks.
  arena.expect(Buffers::bytes(model_, std::min(chunk_.tokens(), most_block_rows(model_.kernels))));
  const Buffers t(model_, rows, arena);
  const float* x = x_ + row * hidden;
  const auto apply = [&](const PackedLinear& linear, const ByteRows& input, Activation activation, bool add_x,
                         float* y) {
    const int64_t n = linear.weight.n;
    linear_bytes({input, rows, &linear.weight, linear.bias.data(), 0, n}, activation, add_x ? x : nullptr, hidden, y, n,
                 kernels, arena);
  };
  kernels.quantize_rows_u8(attended_ + row * hidden, hidden, rows, hidden, 0, t.attended.data, t.attended.stride,
                           t.attended.scales, nullptr);
  apply(layer.attention_output, t.attended, Activation::none, true, t.sum);
  normalize(layer.attention_norm, t.sum, row, rows);
  apply(layer.intermediate, bytes_.from(row), Activation::gelu, false, t.inner);
  kernels.quantize_gelu_u8(t.inner, inner_size, rows, inner_size, t.activated.data, t.activated.stride,
                           t.activated.scales, t.activated.offsets);
  apply(layer.output, t.activated, Activation::none, true, t.sum);
  normalize(layer.output_norm, t.sum, row, rows);
}

// Query, key, value and attention: a thread needs what it has projected itself only.
void ByteLayers::attend_by_columns(size_t index) {
  const PackedLinear& linear = model_.layers[index].qkv;
  const int64_t groups = (model_.heads + head_group_ - 1) / head_group_;
  for_each_range(groups, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * head_group_, heads = std::min(end * head_group_, model_.heads) - first;
    Arena& arena = thread_arena();
    for (int64_t part = 0; part < 3; ++part) {
      const int64_t column = part * model_.hidden + first * model_.head_size;
      linear_bytes({bytes_, chunk_.tokens(), &linear.weight, linear.bias.data(), column,
                    column + heads * model_.head_size},
                   qkv_, model_.kernels, arena);
    }
    attend(index, first, heads, {model_.kernels, context_.pool, 1, arena});
  });
}

void ByteLayers::multiply_by_columns(const PackedLinear& linear, const ByteRows& input, int64_t rows,
                                     Activation activation, const float* residual, float* y) {
  const int64_t n = linear.weight.n;
  for_each_range((n + kColumns - 1) / kColumns, [&](int64_t begin, int64_t end) {
    const int64_t column = begin * kColumns;
    linear_bytes({input, rows, &linear.weight, linear.bias.data(), column, std::min(end * kColumns, n)}, activation,
                 residual ? residual + column : nullptr, n, y + column, n, model_.kernels, thread_arena());
  });
}

// The same as finish() for all rows.
void ByteLayers::finish_by_columns(const PackedLayer& layer, int64_t rows) {
  const int64_t hidden = model_.hidden, inner_size = model_.intermediate;
  const KernelTable& kernels = model_.kernels;
  const Arena::Scope scope(context_.arena);
  const Buffers t(model_, rows, context_.arena);
  for_each_block(rows, [&](int64_t row, int64_t count) {
    const ByteRows to = t.attended.from(row);
    kernels.quantize_rows_u8(attended_ + row * hidden, hidden, count, hidden, 0, to.data, to.stride, to.scales,
                             nullptr);
  });
  multiply_by_columns(layer.attention_output, t.attended, rows, Activation::none, x_, t.sum);
  for_each_block(rows, [&](int64_t row, int64_t count) {
    normalize(layer.attention_norm, t.sum + row * hidden, row, count);
  });
  multiply_by_columns(layer.intermediate, bytes_, rows, Activation::gelu, nullptr, t.inner);
  for_each_block(rows, [&](int64_t row, int64_t count) {
    const ByteRows to = t.activated.from(row);
    kernels.quantize_gelu_u8(t.inner + row * inner_size, inner_size, count, inner_size, to.data, to.stride, to.scales,
                             to.offsets);
  });
  multiply_by_columns(layer.output, t.activated, rows, Activation::none, x_, t.sum);
  for_each_block(rows, [&](int64_t row, int64_t count) {
    normalize(layer.output_norm, t.sum + row * hidden, row, count);
  });
}

void ByteLayers::layer(size_t index) {
  const bool last = index + 1 == model_.layers.size();
  if (by_columns_)
    attend_by_columns(index);
  else
    attend(index, 0, model_.heads, context_);
  // What follows works row by row, so the last layer need not do it for rows that nobody reads.
  const bool first_only = last && first_rows_only_;
  if (first_only) {
    chunk_.keep_first_rows(x_, model_.hidden);
    chunk_.keep_first_rows(attended_, model_.hidden);
  }
  const int64_t rows = first_only ? chunk_.sequences : chunk_.tokens();
  if (by_columns_ || (last && by_columns(rows))) return finish_by_columns(model_.layers[index], rows);
  for_each_block(rows, [&](int64_t row, int64_t count) {
    finish(model_.layers[index], row, count);
    if (!last) query_key_value(index + 1, row, count);
  });
}

}  // namespace whittle
