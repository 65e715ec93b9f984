#include <cmath>

#include "kernels/kernel_table.h"
#include "kernels/ref/bfloat16.h"

namespace whittle::ref {

namespace {

int64_t attention_backward_bf16_scratch(int64_t length, int64_t head_size) {
  return 3 * length * head_size + 2 * length;
}

// With P = exp(S - shift) * share, D = dropout(P) and dD = dout V^T: dV = D^T dout, dP = dropout(dD),
// dS = P * (dP - sum_j P * dP), dQ = scale * dS K, dK = scale * dS^T Q; dS is the gradient of the bias. D and
// scale * dS are rounded to bf16.
void attention_backward_bf16(const bf16* q, const bf16* k, const bf16* v, int64_t stride, int64_t length,
                             int64_t head_size, float scale, const ScoreBias* bias, const bf16* dout,
                             int64_t dout_stride, const float* softmax, const KeepMask* keep, float* scratch, bf16* dq,
                             bf16* dk, bf16* dv, float* dbias) {
  float* query_sums = scratch;                             // [length, head_size]
  float* key_sums = query_sums + length * head_size;       // [length, head_size]
  float* value_sums = key_sums + length * head_size;       // [length, head_size]
  float* probabilities = value_sums + length * head_size;  // [length]
  float* gradients = probabilities + length;               // [length], dP
  for (int64_t i = 0; i < 3 * length * head_size; ++i) scratch[i] = 0;
  const auto factor = [&](int64_t i, int64_t j) {
    if (!keep) return 1.0f;
    return (keep->bits[i * keep->stride + j / 8] >> (j % 8) & 1) ? keep->scale : 0.0f;
  };
  for (int64_t i = 0; i < length; ++i) {
    double weighted = 0;
    for (int64_t j = 0; j < length; ++j) {
      double score = 0, gradient = 0;
      for (int64_t d = 0; d < head_size; ++d) {
        score += static_cast<double>(to_f32(q[i * stride + d])) * to_f32(k[j * stride + d]);
        gradient += static_cast<double>(to_f32(dout[i * dout_stride + d])) * to_f32(v[j * stride + d]);
      }
      score = score * scale + (bias ? bias->data[i * bias->stride + j] : 0);
      probabilities[j] = static_cast<float>(std::exp(score - softmax[i]) * softmax[length + i]);
      gradients[j] = static_cast<float>(gradient * factor(i, j));
      weighted += static_cast<double>(probabilities[j]) * gradients[j];
    }
    for (int64_t j = 0; j < length; ++j) {
      const double biased_gradient = probabilities[j] * (gradients[j] - weighted);
      if (dbias) dbias[i * bias->stride + j] += static_cast<float>(biased_gradient);
      const float score_gradient = to_f32(to_bf16(static_cast<float>(scale * biased_gradient)));
      const float dropped = to_f32(to_bf16(probabilities[j] * factor(i, j)));
      for (int64_t d = 0; d < head_size; ++d) {
        value_sums[j * head_size + d] += dropped * to_f32(dout[i * dout_stride + d]);
        query_sums[i * head_size + d] += score_gradient * to_f32(k[j * stride + d]);
        key_sums[j * head_size + d] += score_gradient * to_f32(q[i * stride + d]);
      }
    }
  }
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t d = 0; d < head_size; ++d) {
      dq[i * stride + d] = to_bf16(query_sums[i * head_size + d]);
      dk[i * stride + d] = to_bf16(key_sums[i * head_size + d]);
      dv[i * stride + d] = to_bf16(value_sums[i * head_size + d]);
    }
  }
}

}  // namespace

void add_attention_backward_bf16(KernelTable& table) {
  table.attention_backward_bf16_scratch = attention_backward_bf16_scratch;
  table.attention_backward_bf16 = attention_backward_bf16;
}

}  // namespace whittle::ref
