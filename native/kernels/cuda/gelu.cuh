// GELU in its erf form.
#pragma once

#include "kernels/cuda/device.cuh"
#include "kernels/normal_tail.h"

namespace whittle::cuda {

__device__ __forceinline__ float gelu(float x) {
  return 0.5f * x * (1.0f + erff(x * 0.70710678118654752440f));
}

// kernels/normal_tail.h in the GPU's memory: 32 lanes read 32 pieces of a power from one cache line.
struct NormalTailTable {
  alignas(128) float powers[5][32];
};
constexpr NormalTailTable normal_tail_table() {
  NormalTailTable table{};
  for (int power = 0; power < 5; ++power)
    for (int piece = 0; piece < 32; ++piece) table.powers[power][piece] = kNormalTail[power][piece];
  return table;
}
static __device__ const NormalTailTable device_normal_tail = normal_tail_table();

// Where in the table a value lies.
struct NormalTailPlace {
  uint32_t piece;  // in its lowest 5 bits
  float t;         // -1/2 to 1/2 within it
  __device__ __forceinline__ explicit NormalTailPlace(float x) {
    const float z = fminf(fabsf(x), kNormalTailEnd);
    // 2^23 plus the number of the piece, which is the lowest bits.
    const float shifted = multiply_add(z, kNormalTailPieces, kRoundingShift);
    piece = float_bits(shifted);
    t = multiply_add(z, kNormalTailPieces, -add(shifted, -kRoundingShift));
  }
};
__device__ __forceinline__ float gelu_of_tail(float x, float tail) {
  return multiply(x, x >= 0 ? add(1.0f, -tail) : tail);
}

// GELU with the bits of the CPU's int8 engine (kernels/ref/epilogue_s8.cc).
__device__ __forceinline__ float gelu_of_table(float x) {
  const NormalTailPlace place(x);
  const float* piece = device_normal_tail.powers[0] + (place.piece & 31u);
  float tail = piece[4 * 32];
#pragma unroll
  for (int power = 3; power >= 0; --power) tail = multiply_add(tail, place.t, piece[power * 32]);
  return gelu_of_tail(x, tail);
}

// The same where a whole warp computes at once: lane l keeps piece l of the table, and lanes ask each other, which
// takes neither addresses nor memory.
struct NormalTailOfLanes {
  float powers[5];
  __device__ __forceinline__ NormalTailOfLanes() {
#pragma unroll
    for (int power = 0; power < 5; ++power) powers[power] = device_normal_tail.powers[power][threadIdx.x % 32];
  }
  __device__ __forceinline__ float gelu(float x) const {
    const NormalTailPlace place(x);
    const int lane = static_cast<int>(place.piece);  // a shuffle takes the lowest 5 bits
    float tail = shuffle(powers[4], lane);
#pragma unroll
    for (int power = 3; power >= 0; --power) tail = multiply_add(tail, place.t, shuffle(powers[power], lane));
    return gelu_of_tail(x, tail);
  }
};

}  // namespace whittle::cuda
