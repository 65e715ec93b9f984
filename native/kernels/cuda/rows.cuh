// What kernels share that work on whole rows: a warp takes a row, which lies in shared memory meanwhile.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/outliers.h"

namespace whittle::cuda {

static constexpr int kRowsPerBlock = 4;  // one a warp
static constexpr int kRowThreads = 32 * kRowsPerBlock;
static constexpr int kRowBlocks = 8;  // of a multiprocessor at least, which leaves 64 registers a thread

static inline int row_shared_bytes(int64_t cols) {
  return static_cast<int>(kRowsPerBlock * ((cols + 3) / 4 * 4) * static_cast<int64_t>(sizeof(float)));
}
static inline Grid row_grid(int64_t most_rows) {
  return {(most_rows + kRowsPerBlock - 1) / kRowsPerBlock};
}

// The row of the calling warp, and its memory.
struct WarpRow {
  int64_t row;
  int lane;
  float* values;  // [cols], shared
};
__device__ __forceinline__ WarpRow warp_row(int cols) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  return {static_cast<int64_t>(blockIdx.x) * kRowsPerBlock + warp, static_cast<int>(threadIdx.x) % 32,
          reinterpret_cast<float*>(dynamic_shared()) + warp * ((cols + 3) / 4 * 4)};
}

// The sum of part(0, sum) to part(cols - 1, sum) in the CPU's order, of 16 lanes (kernels/vector/sum_lanes.h): lane
// c % 16 takes column c. Both halves of the warp do the same.
template <typename Part>
__device__ __forceinline__ float sum_lanes(const WarpRow& row, int cols, const Part& part) {
  float sum = 0;
  for (int c = row.lane % 16; c < cols; c += 16) sum = part(c, sum);
#pragma unroll
  for (int half = 8; half > 0; half /= 2) sum = add(sum, shuffle_xor(sum, half));
  return sum;
}

// values = (values - mean) / sqrt(variance + epsilon) * gamma + beta, with the bits of kernels/ref/layer_norm_u8.cc.
__device__ __forceinline__ void normalize(const WarpRow& row, int cols, const RowResult& result) {
  const float share = 1.0f / static_cast<float>(cols);
  const float mean =
      multiply(sum_lanes(row, cols, [&](int c, float sum) { return add(sum, row.values[c]); }), share);
  const float squares = sum_lanes(row, cols, [&](int c, float sum) {
    const float centered = row.values[c] - mean;
    return multiply_add(centered, centered, sum);
  });
  const float scale = 1.0f / sqrtf(add(multiply(squares, share), result.epsilon));
  sync_warp();  // All have read the row.
  for (int c = row.lane; c < cols; c += 32)
    row.values[c] = multiply_add(multiply(row.values[c] - mean, scale), result.gamma[c], result.beta[c]);
  sync_warp();
}

// The largest and the (most + 1)-th largest magnitude of the row, counted as often as they occur.
template <int kMost>
__device__ __forceinline__ void largest_magnitudes(const WarpRow& row, int cols, float* largest, float* next) {
  uint32_t top[kMost + 1];  // of this lane, largest first; magnitudes compare like their bits
#pragma unroll
  for (int i = 0; i <= kMost; ++i) top[i] = 0;
  for (int c = row.lane; c < cols; c += 32) {
    uint32_t rest = float_bits(row.values[c]) & 0x7fffffffu;
    if (rest <= top[kMost]) continue;
#pragma unroll
    for (int i = 0; i <= kMost; ++i) {
      const uint32_t kept = rest > top[i] ? rest : top[i];
      rest = rest > top[i] ? top[i] : rest;
      top[i] = kept;
    }
  }
  uint32_t found = 0;
#pragma unroll
  for (int i = 0; i <= kMost; ++i) {
    found = warp_max(top[0]);
    if (i == 0) *largest = bits_float(found);
    const int owner = __ffs(ballot(top[0] == found)) - 1;
    if (row.lane == owner) {
#pragma unroll
      for (int j = 0; j < kMost; ++j) top[j] = top[j + 1];
      top[kMost] = 0;
    }
  }
  *next = bits_float(found);
}

// Writes the outliers of the row, and cuts them to `limit` in `values`.
__device__ __forceinline__ int take_outliers(const WarpRow& row, int cols, float limit, const Operand& operand) {
  const float inverse = 127.0f / limit;
  int found = 0;
  for (int begin = 0; begin < cols; begin += 32) {
    const int c = begin + row.lane;
    const float value = c < cols ? row.values[c] : 0.0f;
    const bool is_outlier = fabsf(value) > limit;
    const uint32_t votes = ballot(is_outlier);
    if (is_outlier) {
      const int at = found + __popc(votes & ((1u << row.lane) - 1));
      if (at < operand.most_outliers)
        operand.outliers[row.row * operand.most_outliers + at] = {
            c, round_to_int(multiply(value, inverse)) - (value > 0 ? 127 : -127)};
      row.values[c] = value > 0 ? limit : -limit;
    }
    found += __popc(votes);
  }
  return found < operand.most_outliers ? found : operand.most_outliers;
}

// round(values * inverse) + shift as int8, and zeros behind them.
__device__ __forceinline__ void store_int8(const WarpRow& row, int cols, float inverse, int shift,
                                           const Operand& operand) {
  const int blocks = (cols + kRowBytes - 1) / kRowBytes;
  for (int byte = row.lane * 4; byte < blocks * kRowBytes; byte += 128) {
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int rounded = byte + i < cols ? round_to_int(multiply(row.values[byte + i], inverse)) + shift : 0;
      rounded = rounded < -128 ? -128 : rounded;  // float16 may round below GELU's least value
      word |= (static_cast<uint32_t>(rounded) & 0xffu) << (8 * i);
    }
    *reinterpret_cast<uint32_t*>(operand.data + operand_offset(row.row, byte, blocks)) = word;
  }
}

// See KernelTable::quantize_gelu_u8.
__device__ __forceinline__ void quantize_gelu(const WarpRow& row, int cols, const Operand& operand) {
  float largest = 0;
  for (int c = row.lane; c < cols; c += 32) largest = fmaxf(largest, row.values[c]);
  for (int mask = 16; mask > 0; mask /= 2) largest = fmaxf(largest, shuffle_xor(largest, mask));
  const float range = largest + kGeluLowest, inverse = 254.0f / range;
  const int zero = round_to_int(multiply(kGeluLowest, inverse));
  if (row.lane == 0) {
    operand.scales[row.row] = range / 254.0f;
    operand.offsets[row.row] = 128 - zero;
  }
  store_int8(row, cols, inverse, zero - 128, operand);
}

// As the CPU quantizes a row: outliers apart (kernels/outliers.h), then as kernels/ref/quantize_rows_s8.cc.
__device__ __forceinline__ void quantize(const WarpRow& row, int cols, const Operand& operand) {
  float largest = 0, next = 0;
  int count = 0;
  if (operand.most_outliers == 0)
    largest_magnitudes<0>(row, cols, &largest, &next);
  else if (operand.most_outliers == 2)
    largest_magnitudes<2>(row, cols, &largest, &next);
  else
    largest_magnitudes<kMostRowOutliers>(row, cols, &largest, &next);
  float limit = largest;
  if (operand.most_outliers > 0 && cols > operand.most_outliers && outlier_limit(largest, next, &limit))
    count = take_outliers(row, cols, limit, operand);
  sync_warp();
  const bool zeros = limit < 1e-36f;
  const float inverse = zeros ? 0.0f : 127.0f / limit;
  if (row.lane == 0) {
    operand.scales[row.row] = zeros ? 0.0f : limit / 127.0f;
    if (operand.most_outliers > 0) operand.outlier_counts[row.row] = count;
  }
  store_int8(row, cols, inverse, 0, operand);
}

// The row as bf16, and what that leaves as a second bf16 if the form is split.
__device__ __forceinline__ void round_to_bf16(const WarpRow& row, int cols, const Operand& operand) {
  const int blocks = (2 * cols + kRowBytes - 1) / kRowBytes;
  const int all_blocks = operand.form == Form::split ? 2 * blocks : blocks;
  for (int c = row.lane * 2; c < blocks * (kRowBytes / 2); c += 64) {
    const float first = c < cols ? row.values[c] : 0.0f;
    const float second = c + 1 < cols ? row.values[c + 1] : 0.0f;
    const uint32_t high = bf16_pair(first, second);
    *reinterpret_cast<uint32_t*>(operand.data + operand_offset(row.row, 2 * c, all_blocks)) = high;
    if (operand.form == Form::split)
      *reinterpret_cast<uint32_t*>(operand.data + operand_offset(row.row, 2 * c + blocks * kRowBytes, all_blocks)) =
          bf16_pair(first - bf16_value(static_cast<uint16_t>(high & 0xffff)),
                    second - bf16_value(static_cast<uint16_t>(high >> 16)));
  }
}

// What RowResult asks for. The whole warp must have written `values`.
__device__ __forceinline__ void finish_row(const WarpRow& row, int cols, const RowResult& result) {
  sync_warp();
  if (result.gamma) normalize(row, cols, result);
  if (result.x)
    for (int c = row.lane; c < cols; c += 32) result.x[row.row * cols + c] = row.values[c];
  if (!result.operand.data) return;
  if (result.operand.form == Form::int8 && result.operand.offsets)
    quantize_gelu(row, cols, result.operand);
  else if (result.operand.form == Form::int8)
    quantize(row, cols, result.operand);
  else
    round_to_bf16(row, cols, result.operand);
}

// Widens the calling warp's row of `in`.
__device__ __forceinline__ void read_row(const WarpRow& row, const Rows& rows) {
  const int cols = static_cast<int>(rows.cols);
  if (rows.format == Format::f16) {
    const uint16_t* in = static_cast<const uint16_t*>(rows.in) + row.row * cols;
    if (cols % 8 == 0) {
      for (int c = row.lane * 8; c < cols; c += 256) {
        const uint4 eight = *reinterpret_cast<const uint4*>(in + c);
        const uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          row.values[c + 2 * i] = half_value(static_cast<uint16_t>(pairs[i] & 0xffff));
          row.values[c + 2 * i + 1] = half_value(static_cast<uint16_t>(pairs[i] >> 16));
        }
      }
    } else {
      for (int c = row.lane; c < cols; c += 32) row.values[c] = half_value(in[c]);
    }
    return;
  }
  const float* in = static_cast<const float*>(rows.in) + row.row * cols;
  if (cols % 4 == 0) {
    for (int c = row.lane * 4; c < cols; c += 128)
      *reinterpret_cast<float4*>(row.values + c) = *reinterpret_cast<const float4*>(in + c);
  } else {
    for (int c = row.lane; c < cols; c += 32) row.values[c] = in[c];
  }
}

}  // namespace whittle::cuda
