// What kernels that work on whole rows share: bytes and outliers of values that a thread holds in registers.
//
// norm_rows.cuh has rows of up to 1024 columns that are normalized, row_quads.cuh others; shared_rows.cuh has what
// neither takes.
#pragma once

#include "kernels/cuda/gelu.cuh"
#include "kernels/cuda/operand_chunk.cuh"
#include "kernels/outliers.h"

namespace whittle::cuda {

static constexpr int kRowWarps = 4;  // of a block
static constexpr int kRowThreads = 32 * kRowWarps;

// --- rounding -------------------------------------------------------------------------------------------------------
// Added to a number below 2^22 this leaves, in the lower bits of the sum, the number rounded to an integer, ties to
// even, as two's complement: at full rate, where a conversion to int has a fourth of it on sm_80 and later.
static constexpr float kRounding = 12582912.0f;  // 1.5 * 2^23

__device__ __forceinline__ float rounded_sum(float value, float factor) {
  return add(multiply(value, factor), kRounding);
}
// The last byte of each.
__device__ __forceinline__ uint32_t last_bytes(float a, float b, float c, float d) {
  return permute_bytes(permute_bytes(float_bits(a), float_bits(b), 0x0040),
                     permute_bytes(float_bits(c), float_bits(d), 0x0040), 0x5410);
}

// --- largest magnitudes ---------------------------------------------------------------------------------------------
// The kCount largest magnitudes seen so far, largest first, counted as often as they occur.
template <int kCount>
struct Largest {
  float top[kCount] = {};

  __device__ __forceinline__ void see(float value) {
    float rest = fabsf(value);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float kept = fmaxf(top[i], rest);
      if (i + 1 < kCount) rest = fminf(top[i], rest);
      top[i] = kept;
    }
  }
  // Of both lists. The k-th largest is the largest of what splits k in two: the smaller of a[i - 1] and b[k - i - 1].
  __device__ __forceinline__ void merge(const float (&other)[kCount]) {
    float both[kCount];
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      both[k] = fmaxf(top[k], other[k]);
#pragma unroll
      for (int i = 0; i < k; ++i) both[k] = fmaxf(both[k], fminf(top[i], other[k - 1 - i]));
    }
#pragma unroll
    for (int k = 0; k < kCount; ++k) top[k] = both[k];
  }
  // Of kLanes lanes side by side.
  template <int kLanes>
  __device__ __forceinline__ void merge_lanes() {
#pragma unroll
    for (int mask = kLanes / 2; mask > 0; mask /= 2) {
      float other[kCount];
#pragma unroll
      for (int i = 0; i < kCount; ++i) other[i] = shuffle_xor(top[i], mask);
      merge(other);
    }
  }
};

// How a row becomes int8, outliers apart (kernels/outliers.h), then as kernels/ref/quantize_rows_s8.cc.
struct RowScale {
  float limit;  // of what is no outlier
  bool has_outliers;
  __device__ __forceinline__ bool zeros() const { return limit < 1e-36f; }
  // 0 for zeros. Without branches, but for the divisions' own out of the ordinary.
  __device__ __forceinline__ float scale() const { return (zeros() ? 0.0f : limit) / 127.0f; }
  __device__ __forceinline__ float inverse() const { return 127.0f / (zeros() ? bits_float(0x7f800000u) : limit); }
  __device__ __forceinline__ Outlier outlier(int column, float value) const {
    return {column, round_to_int(multiply(value, inverse())) - (value > 0 ? 127 : -127)};
  }
};
template <int kCount>
__device__ __forceinline__ RowScale row_scale(const Largest<kCount>& largest, int cols) {
  RowScale row{largest.top[0], false};
  if (kCount > 1 && cols >= kCount)
    row.has_outliers = outlier_limit(largest.top[0], largest.top[kCount - 1], &row.limit);
  return row;
}

__device__ __forceinline__ void store_scale(const Operand& operand, int64_t row, const RowScale& scale, int outliers) {
  operand.scales[row] = scale.scale();
  if (operand.most_outliers > 0)
    operand.outlier_counts[row] = outliers < operand.most_outliers ? outliers : operand.most_outliers;
}

// See KernelTable::quantize_gelu_u8.
struct GeluScale {
  float range;
  __device__ __forceinline__ explicit GeluScale(float largest) : range(largest + kGeluLowest) {}
  __device__ __forceinline__ float inverse() const { return 254.0f / range; }
  __device__ __forceinline__ int zero() const { return round_to_int(multiply(kGeluLowest, inverse())); }
  __device__ __forceinline__ float shift() const { return static_cast<float>(zero() - 128); }
  __device__ __forceinline__ void store(const Operand& operand, int64_t row) const {
    operand.scales[row] = range / 254.0f;
    operand.offsets[row] = 128 - zero();
  }
};

}  // namespace whittle::cuda
