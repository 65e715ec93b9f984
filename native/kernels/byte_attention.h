// Attention in integers: q, k, v as int8 with a scale a token and head, weights as bytes. Sums of products of integers
// have no order, so that every ISA and every GPU gives the same bits.
//
// With t = (q_i . k_j) * scale of k_j and a = scale of q_i * log2(e) / sqrt(head_size), a row's softmax in base 2 is
// e_j = 2^(fma(t_j, a, -max(t) * a)), or with a bias b the x_j = fma(t_j, a, b_j * log2(e)) take the place of t_j * a.
// Its sum is one of integers too, of round(e_j * kExponentialScale). The scales of v differ from key to key; they go
// into the weights: with r_j the scale of v_j over the largest of the sequence, weight j is round(c e_j r_j). Where a
// row attends to keys of small values most, all e_j r_j are small, so c grows as they shrink: c = kTopWeight *
// 2^(max x - max(x + l)), l_j being the logarithm of r_j or less, and the exponent at most kMostShift.
#pragma once

#include <cstdint>

namespace whittle {

inline constexpr float kLog2E = 1.44269504088896341f;

// 2^y: y = n + f with |f| <= 1/2 (n to nearest, ties to even), and a polynomial in f, which is off by
// 7.5e-5 of 2^f at most. Below -100 it stays at 2^-100.
inline constexpr float kLowestExponent = -100.0f;
inline constexpr float kPowerOfTwo[4] = {0.999928057f, 0.693260968f, 0.242611125f, 0.0551716685f};

// Added to a float below 2^22, this leaves the nearest integer in the lowest bits of the sum.
inline constexpr float kRounding = 12582912.0f;  // 1.5 * 2^23
inline constexpr int32_t kRoundingBits = 0x4b400000;

inline constexpr float kExponentialScale = 262144.0f;  // of a softmax's sum

// l = (bits of r - bits of 1) * 2^-23, a straight line between powers of two, is below log2(r) by 0.0861 at most; so
// no weight is above kTopWeight * 2^0.0862 < 255.
inline constexpr float kTopWeight = 240.0f;
inline constexpr float kMostShift = 30.0f;
inline constexpr int32_t kOneBits = 0x3f800000;
inline constexpr float kLogarithmUnit = 1.1920928955078125e-7f;  // 2^-23
// A softmax's sum fits into int32, and so do the sums of products with weights.
inline constexpr int64_t kMostByteKeys = 8191;

}  // namespace whittle
