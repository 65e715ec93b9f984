// Rows of any width and alignment, for what norm_rows.cuh and row_quads.cuh leave: a warp takes a row, which lies in
// shared memory meanwhile.
#pragma once

#include "kernels/cuda/rows.cuh"

namespace whittle::cuda {

static constexpr int kSharedRowBlocks = 8;  // of a multiprocessor at least, which leaves 64 registers a thread

static inline int row_shared_bytes(int64_t cols) {
  return static_cast<int>(kRowWarps * ((cols + 3) / 4 * 4) * static_cast<int64_t>(sizeof(float)));
}
static inline Grid shared_row_grid(int64_t most_rows) {
  return {(most_rows + kRowWarps - 1) / kRowWarps};
}

// The row of the calling warp, and its memory.
struct WarpRow {
  int64_t row;
  int lane;
  float* values;  // [cols], shared
};
__device__ __forceinline__ WarpRow warp_row(int cols) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  return {static_cast<int64_t>(blockIdx.x) * kRowWarps + warp, static_cast<int>(threadIdx.x) % 32,
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
  if (result.stats && row.lane == 0) result.stats[row.row] = {mean, scale};
  sync_warp();  // All have read the row.
  for (int c = row.lane; c < cols; c += 32)
    row.values[c] = multiply_add(multiply(row.values[c] - mean, scale), result.gamma[c], result.beta[c]);
  sync_warp();
}

// Writes the outliers of the row in the order of their columns, and cuts them to the limit in `values`.
__device__ __forceinline__ int take_outliers(const WarpRow& row, int cols, const RowScale& scale,
                                             const Operand& operand) {
  int found = 0;
  for (int begin = 0; begin < cols; begin += 32) {
    const int c = begin + row.lane;
    const float value = c < cols ? row.values[c] : 0.0f;
    const bool is_outlier = fabsf(value) > scale.limit;
    const uint32_t votes = ballot(is_outlier);
    if (is_outlier) {
      const int at = found + __popc(votes & ((1u << row.lane) - 1));
      if (at < operand.most_outliers)
        operand.outliers[row.row * operand.most_outliers + at] = scale.outlier(c, value);
      row.values[c] = value > 0 ? scale.limit : -scale.limit;
    }
    found += __popc(votes);
  }
  return found;
}

// round(values * inverse + shift) as int8, and zeros behind them.
__device__ __forceinline__ void store_int8(const WarpRow& row, int cols, float inverse, float shift,
                                           const Operand& operand) {
  const int blocks = (cols + kRowBytes - 1) / kRowBytes;
  for (int byte = row.lane * 4; byte < blocks * kRowBytes; byte += 128) {
    uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int rounded = byte + i < cols ? round_to_int(multiply_add(row.values[byte + i], inverse, shift)) : 0;
      word |= (static_cast<uint32_t>(rounded) & 0xffu) << (8 * i);
    }
    *reinterpret_cast<uint32_t*>(operand.data + operand_offset(row.row, byte, blocks)) = word;
  }
}

// See KernelTable::quantize_gelu_u8.
__device__ __forceinline__ void quantize_gelu(const WarpRow& row, int cols, const Operand& operand) {
  float largest = 0;
  for (int c = row.lane; c < cols; c += 32) {
    row.values[c] = gelu_polynomial(row.values[c]);
    largest = fmaxf(largest, row.values[c]);
  }
  sync_warp();
  for (int mask = 16; mask > 0; mask /= 2) largest = fmaxf(largest, shuffle_xor(largest, mask));
  const GeluScale scale(largest);
  if (row.lane == 0) scale.store(operand, row.row);
  store_int8(row, cols, scale.inverse(), scale.shift(), operand);
}

template <int kCount>
__device__ __forceinline__ void quantize(const WarpRow& row, int cols, const Operand& operand) {
  Largest<kCount> largest;
  for (int c = row.lane; c < cols; c += 32) largest.see(row.values[c]);
  largest.template merge_lanes<32>();
  const RowScale scale = row_scale(largest, cols);
  const int outliers = scale.has_outliers ? take_outliers(row, cols, scale, operand) : 0;
  sync_warp();
  if (row.lane == 0) store_scale(operand, row.row, scale, outliers);
  store_int8(row, cols, scale.inverse(), 0.0f, operand);
}

// The row as bf16, and what that leaves as a second bf16 if the form is split.
__device__ __forceinline__ void round_to_bf16(const WarpRow& row, int cols, const Operand& operand) {
  const int blocks = (2 * cols + kRowBytes - 1) / kRowBytes;
  const int all_blocks = operand.form == Form::split ? 2 * blocks : blocks;
  for (int c = row.lane * 2; c < blocks * (kRowBytes / 2); c += 64) {
    const float first = c < cols ? row.values[c] : 0.0f;
    const float second = c + 1 < cols ? row.values[c + 1] : 0.0f;
    *reinterpret_cast<uint32_t*>(operand.data + operand_offset(row.row, 2 * c, all_blocks)) = bf16_pair(first, second);
    if (operand.form == Form::split)
      *reinterpret_cast<uint32_t*>(operand.data + operand_offset(row.row, 2 * c + blocks * kRowBytes, all_blocks)) =
          low_bf16_pair(first, second);
  }
}

// values = what float16 holds of them, stored at `to`.
__device__ __forceinline__ void round_to_f16(const WarpRow& row, int cols, uint16_t* to) {
  for (int c = row.lane; c < cols; c += 32) {
    const uint16_t half = static_cast<uint16_t>(half_pair(row.values[c], 0));
    row.values[c] = half_value(half);
    to[row.row * cols + c] = half;
  }
  sync_warp();
}

// What RowResult asks for, but for sums. The whole warp must have written `values`.
__device__ __forceinline__ void finish_row(const WarpRow& row, int cols, const RowResult& result) {
  sync_warp();
  if (result.gamma) normalize(row, cols, result);
  if (result.x)
    for (int c = row.lane; c < cols; c += 32) result.x[row.row * cols + c] = row.values[c];
  if (!result.operand.data) return;
  if (result.operand.form == Form::int8 && result.operand.offsets)
    quantize_gelu(row, cols, result.operand);
  else if (result.operand.form != Form::int8)
    round_to_bf16(row, cols, result.operand);
  else if (result.operand.most_outliers == 0)
    quantize<1>(row, cols, result.operand);
  else if (result.operand.most_outliers == 2)
    quantize<3>(row, cols, result.operand);
  else
    quantize<kMostRowOutliers + 1>(row, cols, result.operand);
}

// The calling warp's row of `in`.
__device__ __forceinline__ void read_row(const WarpRow& row, const Rows& rows) {
  const int cols = static_cast<int>(rows.cols);
  if (rows.halves) {
    const uint16_t* halves = rows.halves + row.row * cols;
    for (int c = row.lane; c < cols; c += 32) row.values[c] = half_value(halves[c]);
    return;
  }
  const float* in = rows.in + row.row * cols;
  if (cols % 4 == 0) {
    for (int c = row.lane * 4; c < cols; c += 128)
      *reinterpret_cast<float4*>(row.values + c) = *reinterpret_cast<const float4*>(in + c);
  } else {
    for (int c = row.lane; c < cols; c += 32) row.values[c] = in[c];
  }
}

static __global__ void __launch_bounds__(kRowThreads, kSharedRowBlocks) shared_rows_kernel(const Rows rows) {
  const WarpRow row = warp_row(static_cast<int>(rows.cols));
  if (row.row >= *rows.rows) return;
  read_row(row, rows);
  finish_row(row, static_cast<int>(rows.cols), rows.result);
}
static inline void run_shared_rows(const Rows& rows, Stream stream) {
  launch(shared_rows_kernel, shared_row_grid(rows.most_rows), kRowThreads, row_shared_bytes(rows.cols), stream, rows);
}

}  // namespace whittle::cuda
