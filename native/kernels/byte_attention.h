// Attention in integers: q, k, v as int8 with a scale a token and head, weights as bytes. Sums of products of integers
// have no order, so that every ISA and every GPU gives the same bits.
//
// With t = (q_i . k_j) * scale of k_j and a = scale of q_i * log2(e) / sqrt(head_size), a row's softmax in base 2 is that
// of x_j = t_j * a, or with a bias b of x_j = fma(t_j, a, b_j * log2(e)). The scales of v differ from key to key; they
// go into the weights: with r_j the scale of v_j over the largest of the sequence and l_j a logarithm of it, the largest
// x_j + l_j of the row, m, becomes kTopWeight: e_j = kTopWeight * 2^(x_j - m), weight j is round(e_j r_j), and what the
// sum of the weighted values is divided by is the sum of the e_j, one of integers too: of round(e_j * sum_scale). A row
// that attends to keys of small values most has large e_j, up to kTopWeight * 2^-kLowestLogarithm.
//
// Where e_j is an exponential, x_j counts as y_j / kSpan = fma(t_j, a / kSpan, (kTopLogarithm - m - kLowest) / kSpan)
// within 0 and 1 (x_j / kSpan in place of the product with a bias), and e_j = 2^(y_j + kLowest).
#pragma once

#include <cstdint>

namespace whittle {

inline constexpr float kLog2E = 1.44269504088896341f;

// Exponents are kept in [kLowest, kLowest + kSpan]; none within the bounds below gets to the upper end.
inline constexpr float kSpan = 128.0f, kLowest = -88.0f;

// 2^f for |f| <= 1/2, off by 7.5e-5 of it at most.
inline constexpr float kPowerOfTwo[4] = {0.999928057f, 0.693260968f, 0.242611125f, 0.0551716685f};

// Added to a float below 2^22, this leaves the nearest integer in the lowest bits of the sum.
inline constexpr float kRounding = 12582912.0f;  // 1.5 * 2^23
inline constexpr int32_t kRoundingBits = 0x4b400000;
// Added to y, this leaves y + kLowest there.
inline constexpr float kExponentRounding = kRounding + kLowest;

// l = (bits of r - bits of 1) * 2^-23, a straight line between powers of two, is below log2(r) by 0.0861 at most; so
// no weight is above kTopWeight * 2^0.0862 < 255.
inline constexpr float kTopWeight = 240.0f, kTopLogarithm = 7.90689060f;  // log2(240)
inline constexpr float kLowestLogarithm = -8.0f;
inline constexpr int32_t kOneBits = 0x3f800000;
inline constexpr float kLogarithmUnit = 1.1920928955078125e-7f;  // 2^-23

// Scales of k are cut to 22 bits: then kRounding * scale is exact, and a GPU, whose sums begin with kRounding, has t by
// one fma((kRounding + q_i . k_j), scale, -kRounding * scale).
inline constexpr uint32_t kKeyScaleBits = 0xfffffffcu;

// Sums of products with weights fit into int32, and so do those of exponentials, each of which is below 2^22 here.
inline constexpr int64_t kMostByteKeys = 8191;
constexpr float sum_scale(int64_t keys) {
  float scale = 64;
  for (int64_t most = 511; most < keys; most = 2 * most + 1) scale /= 2;
  return scale;
}

}  // namespace whittle
