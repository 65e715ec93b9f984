#include "ops/attention.h"

#include <cmath>

namespace whittle {

namespace {

constexpr int64_t kTokensPerTask = 256;  // work of at least this many queries, so that short sequences share a task

// Calls body(sequence, head) for all pairs; contiguous pairs that share a task share its thread.
template <typename Body>
void for_each_head(const Attention& a, const Context& context, const Body& body) {
  const int64_t units = a.sequences * a.heads;
  if (units == 0) return;
  const int64_t mean_length = a.offsets[a.sequences] / a.sequences + 1;
  int64_t grain = kTokensPerTask / mean_length;
  grain = grain < 1 ? 1 : grain > a.heads ? a.heads : grain;
  context.pool.run((units + grain - 1) / grain, context.threads, [&](int64_t task) {
    const int64_t end = (task + 1) * grain < units ? (task + 1) * grain : units;
    for (int64_t unit = task * grain; unit < end; ++unit) body(unit / a.heads, unit % a.heads);
  });
}

// The keep mask of one head, in the calling thread's arena.
KeepMask keep_mask(const Attention& a, int64_t sequence, int64_t head, int64_t length, const KernelTable& kernels) {
  const int64_t row_bits = (length + 15) / 16 * 16;
  uint8_t* bits = thread_arena().take<uint8_t>(dropout_bit_bytes(length * row_bits));
  a.dropout->bits(static_cast<uint32_t>(sequence * a.heads + head), length * row_bits, bits, kernels);
  return {bits, row_bits / 8, a.dropout->scale()};
}

}  // namespace

void attention(const Attention& a, Precision precision, const Context& context) {
  const KernelTable& kernels = context.kernels;
  const bool bf16 = precision == Precision::bfloat16 && kernels.native_bf16;
  const auto kernel = bf16 ? kernels.attention_bf16 : kernels.attention;
  const auto scratch = bf16 ? kernels.attention_bf16_scratch : kernels.attention_scratch;
  const float scale = 1 / std::sqrt(static_cast<float>(a.head_size));
  for_each_head(a, context, [&](int64_t sequence, int64_t head) {
    const int64_t begin = a.offsets[sequence], length = a.offsets[sequence + 1] - begin;
    if (length == 0) return;
    Arena::Scope scope(thread_arena());
    KeepMask mask;
    if (a.dropout) mask = keep_mask(a, sequence, head, length, kernels);
    const int64_t at = begin * a.stride + head * a.head_size;
    kernel(a.q + at, a.k + at, a.v + at, a.stride, length, a.head_size, scale, nullptr,
           thread_arena().take<float>(scratch(length, a.head_size)), a.out + begin * a.out_stride + head * a.head_size,
           a.out_stride, a.dropout ? &mask : nullptr);
  });
}

void attention_backward(const Attention& a, const float* dout, float* dq, float* dk, float* dv,
                        const Context& context) {
  const KernelTable& kernels = context.kernels;
  const float scale = 1 / std::sqrt(static_cast<float>(a.head_size));
  for_each_head(a, context, [&](int64_t sequence, int64_t head) {
    const int64_t begin = a.offsets[sequence], length = a.offsets[sequence + 1] - begin;
    if (length == 0) return;
    Arena::Scope scope(thread_arena());
    KeepMask mask;
    if (a.dropout) mask = keep_mask(a, sequence, head, length, kernels);
    const int64_t at = begin * a.stride + head * a.head_size;
    kernels.attention_backward(
        a.q + at, a.k + at, a.v + at, a.stride, length, a.head_size, scale, nullptr,
        dout + begin * a.out_stride + head * a.head_size, a.out_stride, a.dropout ? &mask : nullptr,
        thread_arena().take<float>(kernels.attention_backward_scratch(length, a.head_size)), dq + at, dk + at, dv + at);
  });
}

}  // namespace whittle
