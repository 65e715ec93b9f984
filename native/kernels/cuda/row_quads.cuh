// Rows that are only quantized or rounded, in registers: a warp takes a row of up to 1024 columns, a block one of up to
// 4096, and a thread has 16 bytes of it at a time, all of which are on their way before the first is used.
#pragma once

#include "kernels/cuda/shared_rows.cuh"

namespace whittle::cuda {

enum class RowForm : int { int8 = 0, gelu, bf16 };  // int8: without outliers; gelu: of it, int8; bf16: or split

// A thread has kWide columns at (thread + p * kThreads) * kWide, p below kPlaces. kWhole: the row has kColumns, else it
// may have fewer.
template <RowForm kTakeForm, Format kTakeFormat, int kTakeWarps, int kTakePlaces, bool kTakeWhole = false>
struct QuadShape {
  static constexpr bool kWhole = kTakeWhole;
  static constexpr RowForm kForm = kTakeForm;
  static constexpr int kWarps = kTakeWarps, kPlaces = kTakePlaces, kThreads = 32 * kWarps;
  static constexpr bool kHalf = kTakeFormat == Format::f16;
  static constexpr int kWide = kHalf ? 8 : 4, kColumns = kThreads * kPlaces * kWide;
  // Registers for the values and some more; blocks of a multiprocessor that leave so many, 12 at most.
  static constexpr int kMore = kForm == RowForm::gelu ? 32 : 24;
  static constexpr int kFit = 65536 / kRowThreads / (kPlaces * kWide + kMore) / 2 * 2, kBlocks = kFit < 12 ? kFit : 12;
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

template <int kCount>
__device__ __forceinline__ void store_words(uint8_t* to, const uint32_t (&words)[kCount]) {
  if constexpr (kCount == 1)
    *reinterpret_cast<uint32_t*>(to) = words[0];
  else
    *reinterpret_cast<uint2*>(to) = {words[0], words[1]};
}

template <typename Shape>
__global__ void __launch_bounds__(kRowThreads, Shape::kBlocks) row_quads_kernel(const Rows rows) {
  constexpr int kPlaces = Shape::kPlaces, kWide = Shape::kWide, kThreads = Shape::kThreads;
  const int thread = static_cast<int>(threadIdx.x) % kThreads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kRowThreads / kThreads) + threadIdx.x / kThreads;
  if (row >= *rows.rows) return;
  const int cols = Shape::kWhole ? Shape::kColumns : static_cast<int>(rows.cols), column = thread * kWide;
  const auto has = [&](int p) { return Shape::kWhole || column + p * kThreads * kWide < cols; };

  uint4 read[kPlaces];
  const auto* in =
      reinterpret_cast<const uint4*>(static_cast<const uint8_t*>(rows.in) + row * cols * (16 / kWide)) + thread;
#pragma unroll
  for (int p = 0; p < kPlaces; ++p) read[p] = has(p) ? in[p * kThreads] : uint4{0, 0, 0, 0};
  float values[kPlaces][kWide];
#pragma unroll
  for (int p = 0; p < kPlaces; ++p) {
    const uint32_t words[4] = {read[p].x, read[p].y, read[p].z, read[p].w};
#pragma unroll
    for (int i = 0; i < kWide; ++i)
      values[p][i] = Shape::kHalf ? half_value(static_cast<uint16_t>(words[i / (kWide / 4)] >> (16 * (i % 2))))
                                  : bits_float(words[i / (kWide / 4)]);
  }
  if constexpr (Shape::kForm == RowForm::gelu) {
    const NormalTailOfLanes table;
#pragma unroll
    for (int p = 0; p < kPlaces; ++p)
#pragma unroll
      for (int i = 0; i < kWide; ++i) values[p][i] = table.gelu(values[p][i]);
  }

  const Operand& operand = rows.result.operand;
  if constexpr (Shape::kForm == RowForm::bf16) {
    const bool split = operand.form == Form::split;
    const int blocks = blocks_of_part(operand.form, cols), byte = 2 * column;
    uint8_t* to = operand_chunk(operand.data, row, split ? 2 * blocks : blocks, byte / 16) + byte % 16;
#pragma unroll
    for (int p = 0; p < kPlaces; ++p, to += 2 * kThreads * kWide / kRowBytes * kBlockBytes) {
      if (byte / kRowBytes + p * (2 * kThreads * kWide / kRowBytes) >= blocks) break;
      uint32_t high[kWide / 2], low[kWide / 2];
#pragma unroll
      for (int i = 0; i < kWide / 2; ++i) {
        high[i] = bf16_pair(values[p][2 * i], values[p][2 * i + 1]);
        low[i] = low_bf16_pair(values[p][2 * i], values[p][2 * i + 1]);
      }
      store_words(to, high);
      if (split) store_words(to + blocks * kBlockBytes, low);
    }
  } else {
    float largest = 0;
#pragma unroll
    for (int p = 0; p < kPlaces; ++p)
#pragma unroll
      for (int i = 0; i < kWide; ++i)
        largest = fmaxf(largest, Shape::kForm == RowForm::gelu ? values[p][i] : fabsf(values[p][i]));
    largest = largest_of_row<Shape::kWarps>(largest);
    float inverse = 0, shift = 0;
    if constexpr (Shape::kForm == RowForm::gelu) {
      const GeluScale scale(largest);
      if (thread == 0) scale.store(operand, row);
      inverse = scale.inverse();
      shift = static_cast<float>(scale.zero() - 128);
    } else {
      const RowScale scale{largest, false};
      if (thread == 0) store_scale(operand, row, scale, 0);
      inverse = scale.inverse();
    }
    const int blocks = blocks_of_part(Form::int8, cols);
    uint8_t* to = operand_chunk(operand.data, row, blocks, column / 16) + column % 16;
#pragma unroll
    for (int p = 0; p < kPlaces; ++p, to += kThreads * kWide / kRowBytes * kBlockBytes) {
      if (!Shape::kWhole && column / kRowBytes + p * (kThreads * kWide / kRowBytes) >= blocks) break;
      uint32_t bytes[kWide / 4];
#pragma unroll
      for (int word = 0; word < kWide / 4; ++word) {
        float sums[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sums[i] = rounded_sum(values[p][4 * word + i], inverse);
          if (Shape::kForm == RowForm::gelu) sums[i] = add(sums[i], shift);
        }
        bytes[word] = has(p) ? last_bytes(sums[0], sums[1], sums[2], sums[3]) : 0;
      }
      store_words(to, bytes);
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
template <RowForm kForm, Format kFormat, int kWarps, int kPlaces>
void launch_places(const Rows& rows, Stream stream) {
  using Shape = QuadShape<kForm, kFormat, kWarps, kPlaces>;
  if constexpr (kForm == RowForm::gelu)
    if (rows.cols == Shape::kColumns)
      return launch_row_quads<QuadShape<kForm, kFormat, kWarps, kPlaces, true>>(rows, stream);
  launch_row_quads<Shape>(rows, stream);
}
template <RowForm kForm, Format kFormat, int kWarps>
void launch_narrowest(const Rows& rows, Stream stream) {
  if constexpr (kFormat == Format::f16) {
    if (rows.cols <= 512 * kWarps) return launch_places<kForm, kFormat, kWarps, 2>(rows, stream);
    if (rows.cols <= 768 * kWarps) return launch_places<kForm, kFormat, kWarps, 3>(rows, stream);
    launch_places<kForm, kFormat, kWarps, 4>(rows, stream);
  } else {
    if (rows.cols <= 384 * kWarps) return launch_places<kForm, kFormat, kWarps, 3>(rows, stream);
    if (rows.cols <= 768 * kWarps) return launch_places<kForm, kFormat, kWarps, 6>(rows, stream);
    launch_places<kForm, kFormat, kWarps, 8>(rows, stream);
  }
}
template <RowForm kForm, Format kFormat>
void launch_rows_of(const Rows& rows, Stream stream) {
  // Rows of GELU are wide.
  if constexpr (kForm != RowForm::gelu)
    if (rows.cols <= 1024) return launch_narrowest<kForm, kFormat, 1>(rows, stream);
  launch_narrowest<kForm, kFormat, 4>(rows, stream);
}

// Rows without norm. kHalfToo: there are float16 rows as well as float32.
template <RowForm kForm, bool kHalfToo>
void run_rows(const Rows& rows, Stream stream) {
  const bool half = rows.format == Format::f16;
  if (rows.cols > 4096 || rows.cols % (half ? 8 : 4) != 0 || rows.result.operand.most_outliers > 0)
    return run_shared_rows(rows, stream);
  if constexpr (kHalfToo)
    if (half) return launch_rows_of<kForm, Format::f16>(rows, stream);
  launch_rows_of<kForm, Format::f32>(rows, stream);
}

}  // namespace whittle::cuda
