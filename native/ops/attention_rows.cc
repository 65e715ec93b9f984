#include "ops/attention_rows.h"

#include <algorithm>
#include <cmath>

namespace whittle {

namespace {

constexpr int64_t kTokensPerTask = 256;  // work of at least this many queries, so that short sequences share a task

}  // namespace

void attention_rows(const AttentionRows& a, const Context& context) {
  const KernelTable& kernels = context.kernels;
  const float scale = 1 / std::sqrt(static_cast<float>(a.head_size));
  const auto head = [&](int64_t sequence, int64_t index) {
    const int64_t begin = a.offsets[sequence], length = a.offsets[sequence + 1] - begin;
    const int64_t at = begin * a.stride + index * a.head_size;
    Arena& arena = thread_arena();
    const Arena::Scope scope(arena);
    float* scratch = arena.take<float>(kernels.attention_rows_bf16_scratch(length, a.head_size));
    // Seen from query 0 and key 0.
    ScoreBias bias = {a.bias.data, -1};
    if (bias.data) bias.data += index * a.bias.width() + a.bias.max_distance - 1;
    kernels.attention_rows_bf16(a.q + at, a.k + at, a.v + at, a.stride, a.first_only ? 1 : length, length, a.head_size,
                                scale, bias.data ? &bias : nullptr, scratch,
                                a.out + begin * a.out_stride + index * a.head_size, a.out_stride);
  };
  const int64_t units = a.sequences * a.heads;
  const int64_t mean_length = a.offsets[a.sequences] / a.sequences + 1;
  const int64_t grain =
      std::clamp<int64_t>(kTokensPerTask / mean_length, 1, std::max<int64_t>(1, units / context.threads));
  context.pool.run((units + grain - 1) / grain, context.threads, [&](int64_t task) {
    const int64_t end = std::min((task + 1) * grain, units);
    for (int64_t unit = task * grain; unit < end; ++unit) head(unit / a.heads, unit % a.heads);
  });
}

}  // namespace whittle
