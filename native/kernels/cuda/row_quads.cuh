// Rows that are only quantized or rounded, in registers: a warp takes a row of up to 1024 columns, a block one of up to
// 4096, and a thread has 4 columns of it at a time, all of which are on their way before the first is used.
#pragma once

#include "kernels/cuda/shared_rows.cuh"

namespace whittle::cuda {

// int8: without outliers, halves: the same of float16; gelu: of it, int8; bf16: or split
enum class RowForm : int { int8 = 0, halves, gelu, bf16 };

// A thread has 4 columns at (thread + p * kThreads) * 4, p below kPlaces. kWhole: the row has kColumns, else it may have
// fewer.
template <RowForm kTakeForm, int kTakeWarps, int kTakePlaces, bool kTakeWhole = false>
struct QuadShape {
  static constexpr bool kWhole = kTakeWhole;
  static constexpr RowForm kForm = kTakeForm;
  static constexpr int kWarps = kTakeWarps, kPlaces = kTakePlaces, kThreads = 32 * kWarps;
  static constexpr int kColumns = kThreads * kPlaces * 4;
  // Registers for the values and some more; blocks of a multiprocessor that leave so many, 12 at most.
  static constexpr int kMore = kForm == RowForm::gelu ? 32 : 24;
  static constexpr int kFit = 65536 / kRowThreads / (kPlaces * 4 + kMore) / 2 * 2, kBlocks = kFit < 12 ? kFit : 12;
};

// The largest of what the threads of a row have, none of it below 0.
template <int kWarps>
__device__ __forceinline__ float largest_of_row(float value) {
  value = bits_float(warp_max(float_bits(value) & 0x7fffffffu));  // compare like their bits, except for -0
  if (kWarps == 1) return value;
  float* of_warps = reinterpret_cast<float*>(dynamic_shared());
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
  sync_block();
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) value = fmaxf(value, of_warps[warp]);
  return value;
}

template <typename Shape>
__global__ void __launch_bounds__(kRowThreads, Shape::kBlocks) row_quads_kernel(const Rows rows) {
  constexpr int kPlaces = Shape::kPlaces, kThreads = Shape::kThreads;
  const int thread = static_cast<int>(threadIdx.x) % kThreads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kRowThreads / kThreads) + threadIdx.x / kThreads;
  if (row >= *rows.rows) return;
  const int cols = Shape::kWhole ? Shape::kColumns : static_cast<int>(rows.cols), column = thread * 4;
  const auto has = [&](int p) { return Shape::kWhole || column + p * kThreads * 4 < cols; };

  float values[kPlaces][4];
  if constexpr (Shape::kForm == RowForm::halves) {
    const auto* in = reinterpret_cast<const uint2*>(rows.halves + row * cols) + thread;
    uint2 read[kPlaces];
#pragma unroll
    for (int p = 0; p < kPlaces; ++p) read[p] = has(p) ? in[p * kThreads] : uint2{0, 0};
#pragma unroll
    for (int p = 0; p < kPlaces; ++p)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        values[p][i] = half_value(static_cast<uint16_t>((i < 2 ? read[p].x : read[p].y) >> 16 * (i % 2)));
  } else {
    const auto* in = reinterpret_cast<const float4*>(rows.in + row * cols) + thread;
#pragma unroll
    for (int p = 0; p < kPlaces; ++p) {
      const float4 read = has(p) ? in[p * kThreads] : float4{0, 0, 0, 0};
      values[p][0] = read.x, values[p][1] = read.y, values[p][2] = read.z, values[p][3] = read.w;
    }
  }
  if constexpr (Shape::kForm == RowForm::gelu) {
#pragma unroll
    for (int p = 0; p < kPlaces; ++p)
#pragma unroll
      for (int i = 0; i < 4; ++i) values[p][i] = gelu_polynomial(values[p][i]);
  }

  const Operand& operand = rows.result.operand;
  if constexpr (Shape::kForm == RowForm::bf16) {
    const bool split = operand.form == Form::split;
    const int blocks = blocks_of_part(operand.form, cols), byte = 2 * column;
    uint8_t* to = operand_chunk(operand.data, row, split ? 2 * blocks : blocks, byte / 16) + byte % 16;
#pragma unroll
    for (int p = 0; p < kPlaces; ++p, to += 8 * kThreads / kRowBytes * kBlockBytes) {
      if (byte / kRowBytes + p * (8 * kThreads / kRowBytes) >= blocks) break;
      uint32_t high[2], low[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        high[i] = bf16_pair(values[p][2 * i], values[p][2 * i + 1]);
        low[i] = low_bf16_pair(values[p][2 * i], values[p][2 * i + 1]);
      }
      *reinterpret_cast<uint2*>(to) = {high[0], high[1]};
      if (split) *reinterpret_cast<uint2*>(to + blocks * kBlockBytes) = {low[0], low[1]};
    }
  } else {
    float largest = 0;
#pragma unroll
    for (int p = 0; p < kPlaces; ++p)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        largest = fmaxf(largest, Shape::kForm == RowForm::gelu ? values[p][i] : fabsf(values[p][i]));
    largest = largest_of_row<Shape::kWarps>(largest);
    float inverse = 0, shift = 0;
    if constexpr (Shape::kForm == RowForm::gelu) {
      const GeluScale scale(largest);
      if (thread == 0) scale.store(operand, row);
      inverse = scale.inverse();
      shift = scale.shift();
    } else {
      const RowScale scale{largest, false};
      if (thread == 0) store_scale(operand, row, scale, 0);
      inverse = scale.inverse();
    }
    const int blocks = blocks_of_part(Form::int8, cols);
    uint8_t* to = operand_chunk(operand.data, row, blocks, column / 16) + column % 16;
#pragma unroll
    for (int p = 0; p < kPlaces; ++p, to += kThreads * 4 / kRowBytes * kBlockBytes) {
      if (!Shape::kWhole && column / kRowBytes + p * (kThreads * 4 / kRowBytes) >= blocks) break;
      float sums[4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        sums[i] = Shape::kForm == RowForm::gelu ? multiply_add(values[p][i], inverse, shift)
                                                : rounded_sum(values[p][i], inverse);
      const uint32_t bytes = Shape::kForm == RowForm::gelu ? rounded_bytes(sums[0], sums[1], sums[2], sums[3])
                                                           : last_bytes(sums[0], sums[1], sums[2], sums[3]);
      *reinterpret_cast<uint32_t*>(to) = has(p) ? bytes : 0;
    }
  }
}

template <typename Shape>
void launch_row_quads(const Rows& rows, Stream stream) {
  constexpr int kRows = kRowThreads / Shape::kThreads;
  launch(row_quads_kernel<Shape>, {(rows.most_rows + kRows - 1) / kRows}, kRowThreads,
         Shape::kWarps * static_cast<int>(sizeof(float)), stream, rows);
}
// Wide rows of GELU, where instructions are almost as long as bytes, have kernels for their width.
template <RowForm kForm, int kWarps, int kPlaces>
void launch_places(const Rows& rows, Stream stream) {
  using Shape = QuadShape<kForm, kWarps, kPlaces>;
  if constexpr (kForm == RowForm::gelu)
    if (rows.cols == Shape::kColumns)
      return launch_row_quads<QuadShape<kForm, kWarps, kPlaces, true>>(rows, stream);
  launch_row_quads<Shape>(rows, stream);
}
template <RowForm kForm, int kWarps>
void launch_narrowest(const Rows& rows, Stream stream) {
  if (rows.cols <= 384 * kWarps) return launch_places<kForm, kWarps, 3>(rows, stream);
  if (rows.cols <= 768 * kWarps) return launch_places<kForm, kWarps, 6>(rows, stream);
  launch_places<kForm, kWarps, 8>(rows, stream);
}

// Rows without norm.
template <RowForm kForm>
void run_rows(const Rows& rows, Stream stream) {
  if (rows.cols > 4096 || rows.cols % 4 != 0 || rows.result.operand.most_outliers > 0)
    return run_shared_rows(rows, stream);
  if constexpr (kForm == RowForm::int8)
    if (rows.halves) return run_rows<RowForm::halves>(rows, stream);
  // Rows of GELU are wide.
  if constexpr (kForm != RowForm::gelu)
    if (rows.cols <= 1024) return launch_narrowest<kForm, 1>(rows, stream);
  launch_narrowest<kForm, 4>(rows, stream);
}

}  // namespace whittle::cuda
