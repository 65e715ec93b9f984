// The epilogue of Format::heads: values to bytes, a head of a row at a time, with the bits of
// kernels/ref/quantize_rows_s8.cc. A thread keeps the values of all its columns until the largest of their heads are
// known. Those are shared out among the four lanes that have a row together, so that each divides for a fourth of them.
#pragma once

#include "kernels/cuda/gemm_epilogue.cuh"
#include "kernels/cuda/rows.cuh"

namespace whittle::cuda {

// A part: what a thread has of 32 columns, 8 of each of two rows (gemm_tile.cuh).
using PartValues = float[2][8];

// Those of completed sums, and the largest magnitude of each row's 8.
__device__ __forceinline__ void finish_part(const Gemm& g, const TileRow (&rows)[2], int column, const int32_t* sums,
                                            PartValues& values, float* limits) {
  float scales[8], bias[8];
  load_piece<float4>(g.w_scales + column, scales);
  load_piece<float4>(g.bias + column, bias);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      const float sum = static_cast<float>(sums[c / 2 * 4 + half * 2 + c % 2]);
      values[half][c] = multiply_add(multiply(sum, rows[half].scale), scales[c], bias[c]);
    }
    limits[half] = fabsf(values[half][0]);
#pragma unroll
    for (int c = 1; c < 8; ++c) limits[half] = fmaxf(limits[half], fabsf(values[half][c]));
  }
}

// Lane q of the four that share rows gets the largest of theirs for a fourth of the numbers, from number q * kCount / 4
// on, at the front.
template <int kLeft, int kCount>
__device__ __forceinline__ void halve_largest(bool upper, int mask, float (&numbers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kLeft; ++i) {
    const float kept = upper ? numbers[i + kLeft] : numbers[i], given = upper ? numbers[i] : numbers[i + kLeft];
    numbers[i] = fmaxf(kept, shuffle_xor(given, mask));
  }
}
template <int kCount>
__device__ __forceinline__ void share_out_largest(int lane, float (&numbers)[kCount]) {
  halve_largest<kCount / 2>((lane & 2) != 0, 2, numbers);
  halve_largest<kCount / 4>((lane & 1) != 0, 1, numbers);
}
// What share_out_largest, or who went on with it, left with the lane of number i.
template <int kCount>
__device__ __forceinline__ float of_its_lane(int lane, int i, const float (&numbers)[kCount]) {
  constexpr int kShare = kCount / 4;
  return shuffle(numbers[i % kShare], lane / 4 * 4 + i / kShare);
}

// The limits of a head in a row and the one 8 below become 127 / limit. Who has the head's first columns stores scales.
__device__ __forceinline__ void finish_limits(const Gemm& g, float* limits, int64_t row, const bool (&valid)[2],
                                              int column) {
  const RowScale heads[2] = {{limits[0], false}, {limits[1], false}};
  const int size = static_cast<int>(g.head_size);  // a power of two
  const float scales[2] = {heads[0].scale(), heads[1].scale()};
  if (column < static_cast<int>(g.n) && (column & (size - 1)) == 0) {
    float* to = g.head_scales + (column >> (__ffs(size) - 1)) * g.head_scale_stride + row;
    if (valid[0]) to[0] = scales[0];
    if (valid[1]) to[8] = scales[1];
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) limits[half] = heads[half].inverse();
}

__device__ __forceinline__ void store_heads(const Gemm& g, int64_t row, int column, const float (&values)[8],
                                            float inverse) {
  float q[8];
#pragma unroll
  for (int c = 0; c < 8; ++c) q[c] = multiply(values[c], inverse);
  *reinterpret_cast<uint2*>(static_cast<uint8_t*>(g.y) + row * g.n + column) = {rounded_bytes(q[0], q[1], q[2], q[3]),
                                                                                rounded_bytes(q[4], q[5], q[6], q[7])};
}

// The first two outliers of a thread's two rows, and the bytes of W that they meet: memory is asked for those of the
// first row while its products are under way, and for the second's while the first's are added.
template <int kParts>
struct OutliersAhead {
  Outlier outliers[2][2];
  uint32_t words[2][2 * kParts];

  __device__ __forceinline__ void fetch_outliers(const Gemm& g, const TileRow (&rows)[2]) {
    if (g.a.most_outliers == 0) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Outlier* of_row = g.a.outliers + rows[half].row * g.a.most_outliers;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        outliers[half][i] = {0, 0};
        if (rows[half].outliers > i) outliers[half][i] = of_row[i];
      }
    }
  }
  __device__ __forceinline__ void fetch_columns(const Gemm& g, int half, int64_t first_column, int lane) {
    if (g.a.most_outliers == 0) return;
    const int n = static_cast<int>(g.n), tile = static_cast<int>(first_column);
    const int first = tile_columns(false, tile < n ? first_column : 0, lane).first;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int8_t* column = g.columns + outliers[half][i].column * g.n + first;
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const uint2 eight = *reinterpret_cast<const uint2*>(column + (tile + part * 32 < n ? part * 32 : 0));
        words[i][2 * part] = eight.x, words[i][2 * part + 1] = eight.y;
      }
    }
  }
  __device__ __forceinline__ void add(int half, int32_t (&sums)[16 * kParts]) const {
    const uint32_t values = outlier_pair(outliers[half][0], outliers[half][1]);
#pragma unroll
    for (int four = 0; four < 2 * kParts; ++four)
      add_outlier_pair(values, words[0][four], words[1][four], 8 * four + half * 2, sums);
  }
  // Of both rows, when their products are done.
  __device__ __forceinline__ void add_all(const Gemm& g, int64_t first_column, int lane, TileRow (&rows)[2],
                                          int32_t (&sums)[16 * kParts]) {
    if (g.a.most_outliers == 0) return;
    OutliersAhead of_second = *this;
    of_second.fetch_columns(g, 1, first_column, lane);
    add(0, sums);
    of_second.add(1, sums);
    rows[0].added = rows[1].added = 2;
  }
};

// Of a tile whose columns hold whole heads.
template <int kCount>
__device__ __forceinline__ void finish_heads(const Gemm& g, const TileRow (&rows)[2], int64_t first_column, int lane,
                                             int32_t (&sums)[kCount]) {
  constexpr int kParts = kCount / 16;
  static_assert(kParts % 4 == 0);
  const int n = static_cast<int>(g.n), tile = static_cast<int>(first_column);
  if (tile >= n) return;
  const int first = tile_columns(false, first_column, lane).first;
  complete_sums<false>(g, rows, first, sums);
  PartValues values[kParts];
  float limits[2 * kParts];
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    // Behind n stands what the first columns have, for nobody, so that there are no branches between the loads.
    const int column = tile + part * 32 < n ? first + part * 32 : first;
    finish_part(g, rows, column, sums + part * 16, values[part], limits + 2 * part);
  }
  // Every part takes the largest of its head's.
#pragma unroll
  for (int span = 1; span < kParts && span < kMostHeadSize / 32; span *= 2) {
    if (static_cast<int>(g.head_size) <= 32 * span) break;
#pragma unroll
    for (int i = 0; i < 2 * kParts; ++i)
      if ((i / 2 & span) == 0) limits[i] = limits[i + 2 * span] = fmaxf(limits[i], limits[i + 2 * span]);
  }
  share_out_largest(lane, limits);
  const bool valid[2] = {rows[0].valid, rows[1].valid};
#pragma unroll
  for (int i = 0; i < kParts / 4; ++i)
    finish_limits(g, limits + 2 * i, rows[0].row, valid, tile + (lane % 4 * (kParts / 4) + i) * 32);
  float inverses[2 * kParts];
#pragma unroll
  for (int i = 0; i < 2 * kParts; ++i) inverses[i] = of_its_lane(lane, i, limits);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (!rows[half].valid) break;  // nor is the other one, which is below
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      if (tile + part * 32 < n)
        store_heads(g, rows[half].row, first + part * 32, values[part][half], inverses[2 * part + half]);
  }
}

// Of a warp that has kPairs times 16 rows of 32 columns, the rows from `warp_row` on of a block's, of which `block_row`
// is the first. A head may belong to several warps, all of which come here and tell each other in `shared`, 4 floats
// for each of the block's rows.
template <int kPairs>
__device__ __forceinline__ void finish_heads_of_warps(const Gemm& g, int64_t rows, int64_t block_row, int warp_row,
                                                      int64_t first_column, int lane,
                                                      const int32_t (&sums)[kPairs][4][4], float* shared) {
  const int n = static_cast<int>(g.n), column = static_cast<int>(first_column);
  const int first = tile_columns(false, first_column, lane).first;
  const int64_t row_of_lane = block_row + warp_row + lane / 4;
  PartValues values[kPairs];
  float limits[2 * kPairs] = {};
  if (column < n) {
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int64_t row = row_of_lane + i * 16;
      const TileRow pair[2] = {tile_row<int32_t>(g, row, rows), tile_row<int32_t>(g, row + 8, rows)};
      int32_t of_rows[16];
#pragma unroll
      for (int at = 0; at < 16; ++at) of_rows[at] = sums[i][at / 4][at % 4];
      complete_sums<false>(g, pair, first, of_rows);
      finish_part(g, pair, first, of_rows, values[i], limits + 2 * i);
    }
  }
  share_out_largest(lane, limits);
  const auto own_row = [&](int i) { return (lane % 4 * (kPairs / 2) + i) * 8; };
  if (g.head_size > 32) {
    const int part = column / 32 % 4, parts = static_cast<int>(g.head_size) / 32, begin = part & -parts;
    float* of_lane = shared + (warp_row + lane / 4) * 4;
    sync_block();  // Everyone is done with what lies there.
#pragma unroll
    for (int i = 0; i < kPairs / 2; ++i) of_lane[own_row(i) * 4 + part] = limits[i];
    sync_block();
#pragma unroll
    for (int i = 0; i < kPairs / 2; ++i)
      for (int other = begin; other < begin + parts; ++other)
        limits[i] = fmaxf(limits[i], of_lane[own_row(i) * 4 + other]);
  }
  if (column >= n) return;
#pragma unroll
  for (int i = 0; i < kPairs / 4; ++i) {
    const int64_t row = row_of_lane + own_row(2 * i);
    const bool valid[2] = {row < rows, row + 8 < rows};
    finish_limits(g, limits + 2 * i, row, valid, column);
  }
#pragma unroll
  for (int i = 0; i < 2 * kPairs; ++i) {
    const int64_t row = row_of_lane + i * 8;
    const float inverse = of_its_lane(lane, i, limits);
    if (row < rows) store_heads(g, row, first, values[i / 2][i % 2], inverse);
  }
}

}  // namespace whittle::cuda
