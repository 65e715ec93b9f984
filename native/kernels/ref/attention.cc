#include <algorithm>
#include <cmath>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

int64_t attention_scratch(int64_t length, int64_t) {
  return length;
}

void attention(const float* q, const float* k, const float* v, int64_t stride, int64_t length, int64_t head_size,
               float scale, const ScoreBias* bias, float* scratch, float* out, int64_t out_stride,
               const KeepMask* keep) {
  float* probabilities = scratch;  // [length]
  for (int64_t i = 0; i < length; ++i) {
    float highest = -INFINITY;
    for (int64_t j = 0; j < length; ++j) {
      double score = 0;
      for (int64_t d = 0; d < head_size; ++d) score += static_cast<double>(q[i * stride + d]) * k[j * stride + d];
      score = score * scale + (bias ? bias->data[i * bias->stride + j] : 0);
      probabilities[j] = static_cast<float>(score);
      highest = std::max(highest, probabilities[j]);
    }
    double sum = 0;
    for (int64_t j = 0; j < length; ++j) sum += std::exp(static_cast<double>(probabilities[j]) - highest);
    for (int64_t j = 0; j < length; ++j) {
      double probability = std::exp(static_cast<double>(probabilities[j]) - highest) / sum;
      if (keep) probability *= (keep->bits[i * keep->stride + j / 8] >> (j % 8) & 1) ? keep->scale : 0;
      probabilities[j] = static_cast<float>(probability);
    }
    for (int64_t d = 0; d < head_size; ++d) {
      double total = 0;
      for (int64_t j = 0; j < length; ++j) total += static_cast<double>(probabilities[j]) * v[j * stride + d];
      out[i * out_stride + d] = static_cast<float>(total);
    }
  }
}

}  // namespace

void add_attention(KernelTable& table) {
  table.attention_scratch = attention_scratch;
  table.attention = attention;
}

}  // namespace whittle::ref
