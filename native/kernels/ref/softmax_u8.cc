#include <cmath>
#include <limits>

#include "kernels/byte_attention.h"
#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

// 2^(kSpan z + kLowest)
float power_of_two(float z) {
  if (!(z > 0)) z = 0;
  const float y = kSpan * z, n = std::nearbyintf(y), f = y - n;
  float p = std::fma(kPowerOfTwo[3], f, kPowerOfTwo[2]);
  p = std::fma(p, f, kPowerOfTwo[1]);
  p = std::fma(p, f, kPowerOfTwo[0]);
  return std::ldexp(p, static_cast<int>(n + kLowest));
}

void softmax_u8(int32_t* products, int64_t stride, int64_t rows, int64_t length, const float* row_scales,
                const float* key_scales, const float* value_ratios, const float* value_logarithms,
                const ScoreBias* bias, uint8_t* weights, int64_t weights_stride, float* factors) {
  const float unit = sum_scale(length);
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t* row = products + r * stride;
    const float a = row_scales[r];
    const float* row_bias = bias ? bias->data + r * bias->stride : nullptr;
    const auto scaled = [&](int64_t j) { return static_cast<float>(row[j]) * key_scales[j]; };
    const auto biased = [&](int64_t j) { return std::fma(scaled(j), a, row_bias[j] * kLog2E); };
    float highest = -std::numeric_limits<float>::infinity();
    for (int64_t j = 0; j < length; ++j) {
      const float weight =
          row_bias ? biased(j) + value_logarithms[j] : std::fma(scaled(j), a, value_logarithms[j]);
      if (weight > highest) highest = weight;
    }
    const float shift = ((kTopLogarithm - kLowest) - highest) * (1 / kSpan);
    int32_t sum = 0;
    for (int64_t j = 0; j < length; ++j) {
      const float z = row_bias ? std::fma(biased(j), 1 / kSpan, shift) : std::fma(scaled(j), a * (1 / kSpan), shift);
      const float e = power_of_two(z);
      sum += static_cast<int32_t>(std::nearbyintf(e * unit));
      // Rounded once, as the vector kernels do.
      weights[r * weights_stride + j] = static_cast<uint8_t>(std::fma(e, value_ratios[j], kRounding) - kRounding);
    }
    factors[r] = unit / static_cast<float>(sum);
  }
}

}  // namespace

void add_softmax_u8(KernelTable& table) {
  table.softmax_u8 = softmax_u8;
}

}  // namespace whittle::ref
