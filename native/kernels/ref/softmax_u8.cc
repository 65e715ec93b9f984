#include <cmath>
#include <limits>

#include "kernels/byte_attention.h"
#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

float power_of_two(float y) {
  if (!(y > kLowestExponent)) y = kLowestExponent;
  const float n = std::nearbyintf(y), f = y - n;
  float p = std::fma(kPowerOfTwo[3], f, kPowerOfTwo[2]);
  p = std::fma(p, f, kPowerOfTwo[1]);
  p = std::fma(p, f, kPowerOfTwo[0]);
  return std::ldexp(p, static_cast<int>(n));
}

// A product's part of its row's exponent, before the maximum comes off: times the row's factor, if there is no bias.
struct Exponent {
  float row_factor;
  const float* key_scales;
  const float* bias;  // of the row, or null

  float operator()(const int32_t* products, int64_t j) const {
    const float t = static_cast<float>(products[j]) * key_scales[j];
    return bias ? std::fma(t, row_factor, bias[j] * kLog2E) : t;
  }
};

void softmax_u8(const int32_t* products, int64_t stride, int64_t rows, int64_t length, const float* row_factors,
                const float* key_scales, const float* value_weights, const ScoreBias* bias, uint8_t* weights,
                int64_t weights_stride, int32_t* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t* row = products + r * stride;
    const float a = row_factors[r];
    const Exponent exponent = {a, key_scales, bias ? bias->data + r * bias->stride : nullptr};
    float highest = -std::numeric_limits<float>::infinity();
    for (int64_t j = 0; j < length; ++j) {
      const float x = exponent(row, j);
      if (x > highest) highest = x;
    }
    if (!bias) highest *= a;
    int32_t sum = 0;
    for (int64_t j = 0; j < length; ++j) {
      const float x = exponent(row, j);
      const float e = power_of_two(bias ? x - highest : std::fma(x, a, -highest));
      sum += static_cast<int32_t>(std::nearbyintf(e * kExponentialScale));
      // Rounded once, as the vector kernels do.
      weights[r * weights_stride + j] = static_cast<uint8_t>(std::fma(e, value_weights[j], kRounding) - kRounding);
    }
    sums[r] = sum;
  }
}

}  // namespace

void add_softmax_u8(KernelTable& table) {
  table.softmax_u8 = softmax_u8;
}

}  // namespace whittle::ref
