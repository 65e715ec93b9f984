// Conversions between float32 and bf16, one value at a time.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::ref {

// Rounds to nearest, ties to even; a NaN stays a NaN.
static inline bf16 to_bf16(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<bf16>(bits >> 16 | 0x40);
  return static_cast<bf16>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline float to_f32(bf16 x) {
  uint32_t bits = static_cast<uint32_t>(x) << 16;
  float result;
  __builtin_memcpy(&result, &bits, sizeof result);
  return result;
}

}  // namespace whittle::ref
