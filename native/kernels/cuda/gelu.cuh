// GELU in its erf form, and as int8 models have it.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/gelu_polynomial.h"

namespace whittle::cuda {

__device__ __forceinline__ float gelu(float x) {
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752440f));
}

// GELU with the bits of the CPU's int8 engine (kernels/gelu_polynomial.h). Who multiplies the result by something takes
// twice GELU and half of that, which changes no bit.
__device__ __forceinline__ float twice_gelu_polynomial(float x) {
  const float square = multiply(x, x);
  float p = gelu_coefficient(6);
#pragma unroll
  for (int power = 5; power >= 0; --power) p = multiply_add(p, square, gelu_coefficient(power));
  return add(x, fminf(multiply(p, square), fabsf(x)));
}
__device__ __forceinline__ float gelu_polynomial(float x) {
  return multiply(twice_gelu_polynomial(x), 0.5f);
}

}  // namespace whittle::cuda
