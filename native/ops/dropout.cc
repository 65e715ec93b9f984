#include "ops/dropout.h"

#include <algorithm>
#include <cstring>

namespace whittle {

namespace {

constexpr int64_t kRowsPerTask = 64;

// Bytes of 0 or 1 for the `count` lowest bits.
void spread(const uint8_t* bits, int64_t count, uint8_t* keep) {
  for (int64_t i = 0; i < count; ++i) keep[i] = bits[i / 8] >> (i % 8) & 1;
}

}  // namespace

void drop_rows(const Dropout& dropout, const float* x, int64_t count, int64_t width, float* y,
               const Context& context) {
  const int64_t stride = dropout_bit_bytes(width);
  context.pool.run((count + kRowsPerTask - 1) / kRowsPerTask, context.threads, [&](int64_t task) {
    Arena::Scope scope(thread_arena());
    const int64_t begin = task * kRowsPerTask, rows = std::min(kRowsPerTask, count - begin);
    uint8_t* bits = thread_arena().take<uint8_t>(rows * stride);
    for (int64_t row = 0; row < rows; ++row) {
      dropout.bits(static_cast<uint32_t>(begin + row), width, bits + row * stride, context.kernels);
    }
    context.kernels.dropout(x + begin * width, rows, width, nullptr, {bits, stride, dropout.scale()}, nullptr,
                            y + begin * width);
  });
}

void keep_rows(const Dropout& dropout, const int32_t* rows, int64_t count, int64_t width, uint8_t* keep,
               const Context& context) {
  context.pool.run((count + kRowsPerTask - 1) / kRowsPerTask, context.threads, [&](int64_t task) {
    Arena::Scope scope(thread_arena());
    uint8_t* bits = thread_arena().take<uint8_t>(dropout_bit_bytes(width));
    const int64_t end = (task + 1) * kRowsPerTask < count ? (task + 1) * kRowsPerTask : count;
    for (int64_t row = task * kRowsPerTask; row < end; ++row) {
      dropout.bits(static_cast<uint32_t>(rows[row]), width, bits, context.kernels);
      spread(bits, width, keep + row * width);
    }
  });
}

void keep_probabilities(const Dropout& dropout, const int32_t* offsets, int64_t sequences, int64_t heads,
                        int64_t longest, uint8_t* keep, const Context& context) {
  context.pool.run(sequences * heads, context.threads, [&](int64_t unit) {
    const int64_t sequence = unit / heads, length = offsets[sequence + 1] - offsets[sequence];
    uint8_t* out = keep + unit * longest * longest;
    std::memset(out, 1, longest * longest);
    if (length == 0) return;
    Arena::Scope scope(thread_arena());
    const int64_t row_bits = probability_row_bits(length);
    uint8_t* bits = thread_arena().take<uint8_t>(dropout_bit_bytes(length * row_bits));
    dropout.bits(static_cast<uint32_t>(unit), length * row_bits, bits, context.kernels);
    for (int64_t query = 0; query < length; ++query) {
      spread(bits + query * row_bits / 8, length, out + query * longest);
    }
  });
}

}  // namespace whittle
