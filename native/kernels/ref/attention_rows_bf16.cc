#include <cmath>
#include <cstring>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

float widened(bf16 value) {
  const uint32_t bits = uint32_t{value} << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

// Round to nearest even.
float rounded_to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return widened(static_cast<bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
}

// 2^t for t <= 0, see avx512/exp.h.
float power_of_two(float t) {
  if (t < -126.0f) t = -126.0f;
  const float whole = std::floor(t), f = t - whole;
  float p = 0.0780230066f;
  p = std::fma(p, f, 0.226069391f);
  p = std::fma(p, f, 0.695832847f);
  p = std::fma(p, f, 0.999925245f);
  return std::ldexp(p, static_cast<int>(whole));
}

int64_t attention_rows_bf16_scratch(int64_t length, int64_t) {
  return length;
}

// In the order of dpbf16ps, which adds the second product of each pair first; products of bf16 are exact in float32.
// get(i) gives the factors' product i.
template <typename Get>
float sum_of_pairs(int64_t count, const Get& get) {
  float sum = 0;
  for (int64_t i = 0; i < count; i += 2) {
    if (i + 1 < count) sum += get(i + 1);
    sum += get(i);
  }
  return sum;
}

void attention_rows_bf16(const bf16* q, const bf16* k, const bf16* v, int64_t stride, int64_t queries, int64_t length,
                         int64_t head_size, float scale, const ScoreBias* bias, float* scratch, float* out,
                         int64_t out_stride) {
  constexpr float kLog2E = 1.44269504088896341f;
  const float factor = bias ? kLog2E : scale * kLog2E;
  float* scores = scratch;  // [length]
  for (int64_t i = 0; i < queries; ++i) {
    float highest = -INFINITY;
    for (int64_t j = 0; j < length; ++j) {
      scores[j] =
          sum_of_pairs(head_size, [&](int64_t d) { return widened(q[i * stride + d]) * widened(k[j * stride + d]); });
      if (bias) scores[j] = std::fma(scores[j], scale, bias->data[i * bias->stride + j]);
      if (scores[j] > highest) highest = scores[j];
    }
    const float shift = highest * factor;
    float lanes[32] = {};
    for (int64_t j = 0; j < length; ++j) {
      const float value = power_of_two(std::fma(scores[j], factor, -shift));
      lanes[j % 32] += value;
      scores[j] = rounded_to_bf16(value);
    }
    for (int half = 16; half > 0; half /= 2)
      for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    const float inverse = 1 / lanes[0];
    for (int64_t d = 0; d < head_size; ++d) {
      const float total = sum_of_pairs(length, [&](int64_t j) { return scores[j] * widened(v[j * stride + d]); });
      out[i * out_stride + d] = total * inverse;
    }
  }
}

}  // namespace

void add_attention_rows_bf16(KernelTable& table) {
  table.attention_rows_bf16_scratch = attention_rows_bf16_scratch;
  table.attention_rows_bf16 = attention_rows_bf16;
}

}  // namespace whittle::ref
