#include <cmath>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

int64_t attention_backward_scratch(int64_t length, int64_t head_size) {
  return 2 * length + 3 * length * head_size;
}

// With P = softmax(S), D = dropout(P) and dD = dout V^T: dV = D^T dout, dP = dropout(dD),
// dS = P * (dP - sum_j P * dP), dQ = scale * dS K, dK = scale * dS^T Q; dS is the gradient of the bias.
void attention_backward(const float* q, const float* k, const float* v, int64_t stride, int64_t length,
                        int64_t head_size, float scale, const ScoreBias* bias, const float* dout, int64_t dout_stride,
                        const KeepMask* keep, float* scratch, float* dq, float* dk, float* dv, float* dbias) {
  float* probabilities = scratch;       // [length]
  float* gradients = scratch + length;  // [length], of the probabilities
  float* query_sums = gradients + length;             // [length, head_size]
  float* key_sums = query_sums + length * head_size;  // [length, head_size]
  float* value_sums = key_sums + length * head_size;  // [length, head_size]
  for (int64_t i = 0; i < 3 * length * head_size; ++i) query_sums[i] = 0;
  for (int64_t i = 0; i < length; ++i) {
    float highest = -INFINITY;
    for (int64_t j = 0; j < length; ++j) {
      double score = 0;
      for (int64_t d = 0; d < head_size; ++d) score += static_cast<double>(q[i * stride + d]) * k[j * stride + d];
      probabilities[j] = static_cast<float>(score * scale + (bias ? bias->data[i * bias->stride + j] : 0));
      if (probabilities[j] > highest) highest = probabilities[j];
    }
    double sum = 0, weighted = 0;
    for (int64_t j = 0; j < length; ++j) {
      probabilities[j] = std::exp(probabilities[j] - highest);
      sum += probabilities[j];
    }
    for (int64_t j = 0; j < length; ++j) {
      probabilities[j] = static_cast<float>(probabilities[j] / sum);
      double gradient = 0;
      for (int64_t d = 0; d < head_size; ++d) {
        gradient += static_cast<double>(dout[i * dout_stride + d]) * v[j * stride + d];
      }
      if (keep) gradient *= (keep->bits[i * keep->stride + j / 8] >> (j % 8) & 1) ? keep->scale : 0;
      gradients[j] = static_cast<float>(gradient);
      weighted += probabilities[j] * gradient;
    }
    for (int64_t j = 0; j < length; ++j) {
      const double biased_gradient = probabilities[j] * (gradients[j] - weighted);
      if (dbias) dbias[i * bias->stride + j] += static_cast<float>(biased_gradient);
      const float score_gradient = static_cast<float>(scale * biased_gradient);
      float dropped = probabilities[j];
      if (keep) dropped *= (keep->bits[i * keep->stride + j / 8] >> (j % 8) & 1) ? keep->scale : 0;
      for (int64_t d = 0; d < head_size; ++d) {
        value_sums[j * head_size + d] += dropped * dout[i * dout_stride + d];
        query_sums[i * head_size + d] += score_gradient * k[j * stride + d];
        key_sums[j * head_size + d] += score_gradient * q[i * stride + d];
      }
    }
  }
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t d = 0; d < head_size; ++d) {
      dq[i * stride + d] = query_sums[i * head_size + d];
      dk[i * stride + d] = key_sums[i * head_size + d];
      dv[i * stride + d] = value_sums[i * head_size + d];
    }
  }
}

}  // namespace

void add_attention_backward(KernelTable& table) {
  table.attention_backward_scratch = attention_backward_scratch;
  table.attention_backward = attention_backward;
}

}  // namespace whittle::ref
