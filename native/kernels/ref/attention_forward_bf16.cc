#include <cmath>

#include "kernels/kernel_table.h"
#include "kernels/ref/bfloat16.h"

namespace whittle::ref {

namespace {

int64_t attention_forward_bf16_scratch(int64_t length, int64_t) {
  return length;
}

// The unnormalized probabilities exp(s - max) are rounded to bf16; sums stay in higher precision.
void attention_forward_bf16(const bf16* q, const bf16* k, const bf16* v, int64_t stride, int64_t length,
                            int64_t head_size, float scale, const ScoreBias* bias, float* scratch, bf16* out,
                            int64_t out_stride, float* softmax, const KeepMask* keep) {
  float* weights = scratch;  // [length]
  for (int64_t i = 0; i < length; ++i) {
    float highest = -INFINITY;
    for (int64_t j = 0; j < length; ++j) {
      double score = 0;
      for (int64_t d = 0; d < head_size; ++d) {
        score += static_cast<double>(to_f32(q[i * stride + d])) * to_f32(k[j * stride + d]);
      }
      weights[j] = static_cast<float>(score * scale + (bias ? bias->data[i * bias->stride + j] : 0));
      if (weights[j] > highest) highest = weights[j];
    }
    double sum = 0;
    for (int64_t j = 0; j < length; ++j) {
      const double weight = std::exp(static_cast<double>(weights[j]) - highest);
      sum += weight;
      const bool kept = !keep || (keep->bits[i * keep->stride + j / 8] >> (j % 8) & 1);
      weights[j] = kept ? to_f32(to_bf16(static_cast<float>(weight))) : 0;
    }
    softmax[i] = highest;
    softmax[length + i] = static_cast<float>(1 / sum);
    const double factor = (keep ? keep->scale : 1) / sum;
    for (int64_t d = 0; d < head_size; ++d) {
      double total = 0;
      for (int64_t j = 0; j < length; ++j) total += static_cast<double>(weights[j]) * to_f32(v[j * stride + d]);
      out[i * out_stride + d] = to_bf16(static_cast<float>(total * factor));
    }
  }
}

}  // namespace

void add_attention_forward_bf16(KernelTable& table) {
  table.attention_forward_bf16_scratch = attention_forward_bf16_scratch;
  table.attention_forward_bf16 = attention_forward_bf16;
}

}  // namespace whittle::ref
