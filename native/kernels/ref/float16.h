// float32 to the values that float16 has, one value at a time.
#pragma once

#include "formats/half.h"

namespace whittle::ref {

// The nearest value that float16 holds, ties to even, still as float32; the largest finite one of larger magnitudes. NaN
// stays NaN.
static inline float round_to_f16(float x) {
  constexpr float kMost = 65504.0f;
  x = x < -kMost ? -kMost : x;
  return half_to_float(float_to_half(x > kMost ? kMost : x));
}

}  // namespace whittle::ref
