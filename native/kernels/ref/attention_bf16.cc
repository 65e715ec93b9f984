#include <cmath>
#include <cstring>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

// Round to nearest even.
float rounded_to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

int64_t attention_bf16_scratch(int64_t length, int64_t) {
  return length;
}

// q, k, v and the unnormalized probabilities exp(s - max) are rounded to bf16; sums stay in higher precision.
void attention_bf16(const float* q, const float* k, const float* v, int64_t stride, int64_t length, int64_t head_size,
                    float scale, const ScoreBias* bias, float* scratch, float* out, int64_t out_stride,
                    const KeepMask* keep) {
  float* weights = scratch;  // [length]
  for (int64_t i = 0; i < length; ++i) {
    float highest = -INFINITY;
    for (int64_t j = 0; j < length; ++j) {
      double score = 0;
      for (int64_t d = 0; d < head_size; ++d) {
        score += static_cast<double>(rounded_to_bf16(q[i * stride + d])) * rounded_to_bf16(k[j * stride + d]);
      }
      weights[j] = static_cast<float>(score * scale + (bias ? bias->data[i * bias->stride + j] : 0));
      if (weights[j] > highest) highest = weights[j];
    }
    double sum = 0;
    for (int64_t j = 0; j < length; ++j) {
      double weight = std::exp(static_cast<double>(weights[j]) - highest);
      sum += weight;
      bool kept = !keep || (keep->bits[i * keep->stride + j / 8] >> (j % 8) & 1);
      weights[j] = kept ? rounded_to_bf16(static_cast<float>(weight)) : 0;
    }
    double factor = (keep ? keep->scale : 1) / sum;
    for (int64_t d = 0; d < head_size; ++d) {
      double total = 0;
      for (int64_t j = 0; j < length; ++j)
        total += static_cast<double>(weights[j]) * rounded_to_bf16(v[j * stride + d]);
      out[i * out_stride + d] = static_cast<float>(total * factor);
    }
  }
}

}  // namespace

void add_attention_bf16(KernelTable& table) {
  table.attention_bf16_scratch = attention_bf16_scratch;
  table.attention_bf16 = attention_bf16;
}

}  // namespace whittle::ref
