// Dropout from a counter-based generator: a mask is a pure function of seed, step, layer, site and element, so the
// backward pass makes it again instead of reading it, and no result depends on the number of threads.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace whittle {

enum class DropoutSite : uint32_t { embedding = 0, attention_probabilities, attention_output, output };

struct Dropout {
  float rate;  // in (0, 1)
  uint64_t seed;
  uint32_t step;
  uint32_t layer;
  DropoutSite site;

  uint32_t threshold() const { return static_cast<uint32_t>(rate * 65536.0f + 0.5f); }
  // 1 / (1 - rate), for the rate as rounded to 1 / 65536.
  float scale() const { return 65536.0f / static_cast<float>(65536 - threshold()); }
  // Bits of `count` elements of one row (a token, or a head of a sequence); ceil(count / 128) * 16 bytes.
  void bits(uint32_t row, int64_t count, uint8_t* out, const KernelTable& kernels) const {
    const uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
    const uint32_t counter[3] = {row, layer * 4 + static_cast<uint32_t>(site), step};
    kernels.dropout_bits(key, counter, threshold(), count, out);
  }
};

inline int64_t dropout_bit_bytes(int64_t count) {
  return (count + 127) / 128 * 16;
}

// Bits from one query's attention probabilities to the next one's.
inline int64_t probability_row_bits(int64_t length) {
  return (length + 15) / 16 * 16;
}

// y = dropout(x) of hidden states [count, width] of the tokens 0 .. count - 1; y may be x.
void drop_rows(const Dropout& dropout, const float* x, int64_t count, int64_t width, float* y, const Context& context);

// The masks that the fused kernels apply, as bytes 0 or 1, for forms of the model that are composed of other
// operations.

// keep [count, width]: of the hidden states of the tokens rows[0 .. count - 1].
void keep_rows(const Dropout& dropout, const int32_t* rows, int64_t count, int64_t width, uint8_t* keep,
               const Context& context);

// keep [sequences, heads, longest, longest]: of the attention probabilities, 1 outside a sequence.
void keep_probabilities(const Dropout& dropout, const int32_t* offsets, int64_t sequences, int64_t heads,
                        int64_t longest, uint8_t* keep, const Context& context);

}  // namespace whittle
