#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace whittle {

namespace {

constexpr int64_t kTokensPerTask = 256;  // work of at least this many queries, so that short sequences share a task

// The keep mask of one head, in the calling thread's arena.
template <typename T>
KeepMask keep_mask(const AttentionOf<T>& a, int64_t sequence, int64_t head, int64_t length,
                   const KernelTable& kernels) {
  const int64_t row_bits = probability_row_bits(length);
  uint8_t* bits = thread_arena().take<uint8_t>(dropout_bit_bytes(length * row_bits));
  a.dropout->bits(static_cast<uint32_t>(sequence * a.heads + head), length * row_bits, bits, kernels);
  return {bits, row_bits / 8, a.dropout->scale()};
}

// One head of one sequence: where it lies, and what its kernel is told beside q, k and v.
struct HeadPart {
  int64_t sequence, head;
  int64_t begin, length;  // tokens
  int64_t at, out_at;     // of its first element in q, k, v, and in the output
  float scale;
  const ScoreBias* bias;  // seen from query 0 and key 0; null: none
  const KeepMask* mask;   // null: no dropout
};

// Calls body(part) for each head of each sequence that has tokens; contiguous heads that share a task share its thread.
// What the body takes of the calling thread's arena is given back after it.
template <typename T, typename Body>
void for_each_head(const AttentionOf<T>& a, const Context& context, const Body& body) {
  const int64_t units = a.sequences * a.heads;
  if (units == 0) return;
  const int64_t mean_length = a.offsets[a.sequences] / a.sequences + 1;
  const int64_t grain = std::clamp<int64_t>(kTokensPerTask / mean_length, 1, a.heads);
  const float scale = 1 / std::sqrt(static_cast<float>(a.head_size));
  const auto run_head = [&](int64_t sequence, int64_t head) {
    const int64_t begin = a.offsets[sequence], length = a.offsets[sequence + 1] - begin;
    if (length == 0) return;
    const Arena::Scope scope(thread_arena());
    KeepMask mask;
    if (a.dropout) mask = keep_mask(a, sequence, head, length, context.kernels);
    ScoreBias bias = {a.bias.data, -1};
    if (bias.data) bias.data += head * a.bias.width() + a.bias.max_distance - 1;
    const int64_t column = head * a.head_size;
    body(HeadPart{sequence, head, begin, length, begin * a.stride + column, begin * a.out_stride + column, scale,
                  bias.data ? &bias : nullptr, a.dropout ? &mask : nullptr});
  };
  context.pool.run((units + grain - 1) / grain, context.threads, [&](int64_t task) {
    const int64_t end = std::min((task + 1) * grain, units);
    for (int64_t unit = task * grain; unit < end; ++unit) run_head(unit / a.heads, unit % a.heads);
  });
}

// The gradients of a position bias, kept apart for each head of each sequence until all are there.
template <typename T>
class BiasGradients {
 public:
  BiasGradients(const AttentionOf<T>& a, float* total, const Context& context)
      : a_(a), total_(total), context_(context) {
    if (total) sums_ = context.arena.take<float>(a.heads * first(a.sequences));
  }
  // Zeroed, seen from query 0 and key 0; null where no gradient is wanted.
  float* of(int64_t sequence, int64_t head) const {
    if (!total_) return nullptr;
    const int64_t length = length_of(sequence);
    float* sums = partial(sequence, head);
    std::memset(sums, 0, static_cast<size_t>(2 * length - 1) * sizeof(float));
    return sums + length - 1;
  }
  void merge() const {
    if (!total_) return;
    const int64_t width = a_.bias.width();
    context_.pool.run(a_.heads, context_.threads, [&](int64_t head) {
      float* total = total_ + head * width;
      std::memset(total, 0, static_cast<size_t>(width) * sizeof(float));
      for (int64_t s = 0; s < a_.sequences; ++s) {
        const int64_t length = length_of(s);
        if (length == 0) continue;
        context_.kernels.column_sums(partial(s, head), 2 * length - 1, 1, 2 * length - 1,
                                     total + a_.bias.max_distance - length);
      }
    });
  }

 private:
  int64_t length_of(int64_t sequence) const { return a_.offsets[sequence + 1] - a_.offsets[sequence]; }
  // Sums of all sequences before this one, of one head; a sequence has at most twice as many distances as tokens.
  int64_t first(int64_t sequence) const { return 2 * static_cast<int64_t>(a_.offsets[sequence]); }
  float* partial(int64_t sequence, int64_t head) const {
    return sums_ + a_.heads * first(sequence) + head * 2 * length_of(sequence);
  }

  const AttentionOf<T>& a_;
  float* total_;
  const Context& context_;
  float* sums_ = nullptr;
};

}  // namespace

void attention(const Attention& a, Precision precision, const Context& context) {
  const KernelTable& kernels = context.kernels;
  const bool bf16 = precision == Precision::bfloat16 && kernels.native_bf16;
  const auto kernel = bf16 ? kernels.attention_bf16 : kernels.attention;
  const auto scratch = bf16 ? kernels.attention_bf16_scratch : kernels.attention_scratch;
  for_each_head(a, context, [&](const HeadPart& part) {
    kernel(a.q + part.at, a.k + part.at, a.v + part.at, a.stride, part.length, a.head_size, part.scale, part.bias,
           thread_arena().take<float>(scratch(part.length, a.head_size)), a.out + part.out_at, a.out_stride, part.mask);
  });
}

void attention_backward(const Attention& a, const float* dout, float* dq, float* dk, float* dv, float* dbias,
                        const Context& context) {
  const Arena::Scope scope(context.arena);
  const BiasGradients bias_gradients(a, dbias, context);
  const KernelTable& kernels = context.kernels;
  for_each_head(a, context, [&](const HeadPart& part) {
    kernels.attention_backward(a.q + part.at, a.k + part.at, a.v + part.at, a.stride, part.length, a.head_size,
                               part.scale, part.bias, dout + part.out_at, a.out_stride, part.mask,
                               thread_arena().take<float>(kernels.attention_backward_scratch(part.length, a.head_size)),
                               dq + part.at, dk + part.at, dv + part.at, bias_gradients.of(part.sequence, part.head));
  });
  bias_gradients.merge();
}

namespace {

// Where one head's [2, length] begin in softmax.
int64_t softmax_at(const AttentionOf<bf16>& a, const HeadPart& part) {
  return 2 * (part.begin * a.heads + part.head * part.length);
}

}  // namespace

void attention(const AttentionOf<bf16>& a, float* softmax, const Context& context) {
  const KernelTable& kernels = context.kernels;
  for_each_head(a, context, [&](const HeadPart& part) {
    kernels.attention_forward_bf16(
        a.q + part.at, a.k + part.at, a.v + part.at, a.stride, part.length, a.head_size, part.scale, part.bias,
        thread_arena().take<float>(kernels.attention_forward_bf16_scratch(part.length, a.head_size)),
        a.out + part.out_at, a.out_stride, softmax + softmax_at(a, part), part.mask);
  });
}

void attention_backward(const AttentionOf<bf16>& a, const float* softmax, const bf16* dout, bf16* dq, bf16* dk,
                        bf16* dv, float* dbias, const Context& context) {
  const Arena::Scope scope(context.arena);
  const BiasGradients bias_gradients(a, dbias, context);
  const KernelTable& kernels = context.kernels;
  for_each_head(a, context, [&](const HeadPart& part) {
    kernels.attention_backward_bf16(
        a.q + part.at, a.k + part.at, a.v + part.at, a.stride, part.length, a.head_size, part.scale, part.bias,
        dout + part.out_at, a.out_stride, softmax + softmax_at(a, part), part.mask,
        thread_arena().take<float>(kernels.attention_backward_bf16_scratch(part.length, a.head_size)), dq + part.at,
        dk + part.at, dv + part.at, bias_gradients.of(part.sequence, part.head));
  });
  bias_gradients.merge();
}

}  // namespace whittle
