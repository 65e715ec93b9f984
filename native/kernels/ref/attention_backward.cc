#include <cmath>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

int64_t attention_backward_scratch(int64_t, int64_t) {
  return 0;
}

// With P = exp(S - lse), D = dropout(P), dD = dout V^T and delta_i = dout_i . out_i (Dao et al. 2022, appendix B.2):
// dV = D^T dout, dS = P * (dropout(dD) - delta), dQ = scale * dS K, dK = scale * dS^T Q.
void attention_backward(const float* q, const float* k, const float* v, int64_t stride, int64_t length,
                        int64_t head_size, float scale, const float* score_bias, const float* out, const float* dout,
                        int64_t out_stride, const float* lse, const KeepMask* keep, float*, float* dq, float* dk,
                        float* dv) {
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t d = 0; d < head_size; ++d) dq[i * stride + d] = dk[i * stride + d] = dv[i * stride + d] = 0;
  }
  for (int64_t i = 0; i < length; ++i) {
    double delta = 0;
    for (int64_t d = 0; d < head_size; ++d) {
      delta += static_cast<double>(dout[i * out_stride + d]) * out[i * out_stride + d];
    }
    for (int64_t j = 0; j < length; ++j) {
      double score = 0, dropped_gradient = 0;
      for (int64_t d = 0; d < head_size; ++d) {
        score += static_cast<double>(q[i * stride + d]) * k[j * stride + d];
        dropped_gradient += static_cast<double>(dout[i * out_stride + d]) * v[j * stride + d];
      }
      score = score * scale + (score_bias ? score_bias[i * length + j] : 0);
      double probability = std::exp(score - lse[i]);
      double kept = 1;
      if (keep) kept = (keep->bits[i * keep->stride + j / 8] >> (j % 8) & 1) ? keep->scale : 0;
      double score_gradient = scale * probability * (kept * dropped_gradient - delta);
      for (int64_t d = 0; d < head_size; ++d) {
        dv[j * stride + d] += static_cast<float>(kept * probability * dout[i * out_stride + d]);
        dq[i * stride + d] += static_cast<float>(score_gradient * k[j * stride + d]);
        dk[j * stride + d] += static_cast<float>(score_gradient * q[i * stride + d]);
      }
    }
  }
}

}  // namespace

void add_attention_backward(KernelTable& table) {
  table.attention_backward_scratch = attention_backward_scratch;
  table.attention_backward = attention_backward;
}

}  // namespace whittle::ref
