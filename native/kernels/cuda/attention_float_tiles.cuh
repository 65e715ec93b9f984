// Float32 tiles of one head for attention by multiply-adds, from bf16 rows in memory.
#pragma once

#include "kernels/cuda/attention_tiles.cuh"

namespace whittle::cuda {

static constexpr int kExactThreads = 128;

// Float32 tiles: queries [64, head], later probabilities [64, keys]; keys or values [64, head]. Behind them the keys or
// values to come, as they are in memory: each thread's pieces of 16 bytes.
template <int kHead>
struct ExactTiles {
  static constexpr int kStride = kHead + 4;        // elements: 8 rows side by side lie in different banks
  static constexpr int kWeightStride = kKeys + 8;  // so do 8 elements each of 4 rows
  static constexpr int kQueryFloats = kKeys * (kStride > kWeightStride ? kStride : kWeightStride);
  static constexpr int kRowFloats = kKeys * kStride;
  static constexpr int kPieces = kKeys * kHead / 8 / kExactThreads;  // of a thread
  static constexpr int kSharedBytes = (kQueryFloats + kRowFloats) * 4 + kPieces * kExactThreads * 16;

  float* shared;
  __device__ __forceinline__ float* queries() const { return shared; }
  __device__ __forceinline__ float* weights() const { return shared; }
  __device__ __forceinline__ float* rows() const { return shared + kQueryFloats; }
  __device__ __forceinline__ uint4* piece(int i) const {
    return reinterpret_cast<uint4*>(shared + kQueryFloats + kRowFloats) + i * kExactThreads + threadIdx.x;
  }
};

__device__ __forceinline__ float first_of_pair(uint32_t pair) {
  return bits_float(pair << 16);
}
__device__ __forceinline__ float second_of_pair(uint32_t pair) {
  return bits_float(pair & 0xffff0000u);
}

// A head's queries, keys and values.
struct HeadSource {
  const uint16_t* queries;  // of the sequence's first token
  int hidden;  // elements from queries to keys and on to values; a token has three times as many, a sequence below 2^31
  int length, head_size;
};
enum Part { kPartQueries, kPartKeys, kPartValues };  // in their order in memory
struct Turn {
  Part part;
  int block;
};

// The pieces of 8 elements that a thread has of a tile: always the same columns. 8 lanes have 8 rows, so that what they
// write lies in different banks.
template <int kHead>
struct Pieces {
  static constexpr int kChunks = kHead / 8, kRowStep = 8 * (kExactThreads / 8) / kChunks;
  int row, column;
  __device__ __forceinline__ explicit Pieces(int thread)
      : row(thread / 8 / kChunks * 8 + thread % 8), column(thread / 8 % kChunks * 8) {}
};

// A pair's second element comes first: sums of products go over memory in its order.
template <int kHead>
__device__ __forceinline__ void widen(float* tile, int row, int column, uint4 piece) {
  float* to = tile + row * ExactTiles<kHead>::kStride + column;
  *reinterpret_cast<float4*>(to) = {second_of_pair(piece.x), first_of_pair(piece.x), second_of_pair(piece.y),
                                    first_of_pair(piece.y)};
  *reinterpret_cast<float4*>(to + 4) = {second_of_pair(piece.z), first_of_pair(piece.z), second_of_pair(piece.w),
                                        first_of_pair(piece.w)};
}

// Starts copying rows [first, first + 64) into the thread's pieces; zeros beyond the sequence and beyond the head,
// where nothing is read.
template <int kHead>
__device__ __forceinline__ void fetch_pieces(const ExactTiles<kHead>& tiles, const HeadSource& source, int part,
                                             int first) {
  const Pieces<kHead> own(static_cast<int>(threadIdx.x));
  const int stride = 3 * source.hidden;
  const int from = part * source.hidden + (first + own.row) * stride + own.column;
#pragma unroll
  for (int i = 0; i < ExactTiles<kHead>::kPieces; ++i) {
    const bool valid = first + own.row + i * Pieces<kHead>::kRowStep < source.length && own.column < source.head_size;
    copy_async(tiles.piece(i), source.queries + (from + i * Pieces<kHead>::kRowStep * stride), valid);
  }
}

template <int kHead>
__device__ __forceinline__ void widen_pieces(const ExactTiles<kHead>& tiles) {
  const Pieces<kHead> own(static_cast<int>(threadIdx.x));
#pragma unroll
  for (int i = 0; i < ExactTiles<kHead>::kPieces; ++i)
    widen<kHead>(tiles.rows(), own.row + i * Pieces<kHead>::kRowStep, own.column, *tiles.piece(i));
}

// Rows [first, first + 64), straight from memory.
template <int kHead>
__device__ __forceinline__ void load_tile(float* tile, const HeadSource& source, int part, int first, bool aligned) {
  const int thread = static_cast<int>(threadIdx.x);
  const int stride = 3 * source.hidden;
  const uint16_t* rows = source.queries + part * source.hidden;
  if (aligned) {
    const Pieces<kHead> own(thread);
    const int from = (first + own.row) * stride + own.column;
    uint4 pieces[ExactTiles<kHead>::kPieces];
#pragma unroll
    for (int i = 0; i < ExactTiles<kHead>::kPieces; ++i) {
      const bool valid = first + own.row + i * Pieces<kHead>::kRowStep < source.length && own.column < source.head_size;
      pieces[i] = valid ? *reinterpret_cast<const uint4*>(rows + from + i * Pieces<kHead>::kRowStep * stride)
                        : uint4{0, 0, 0, 0};
    }
#pragma unroll
    for (int i = 0; i < ExactTiles<kHead>::kPieces; ++i)
      widen<kHead>(tile, own.row + i * Pieces<kHead>::kRowStep, own.column, pieces[i]);
  } else {
#pragma unroll 1
    for (int i = thread; i < kKeys * kHead; i += kExactThreads) {
      const int row = i / kHead, column = i % kHead;
      const bool valid = first + row < source.length && column < source.head_size;
      tile[row * ExactTiles<kHead>::kStride + (column ^ 1)] =
          valid ? bf16_value(rows[(first + row) * stride + column]) : 0.0f;
    }
  }
}

// 16 bytes at once.
__device__ __forceinline__ void read_four(const float* from, float (&to)[4]) {
  const float4 four = *reinterpret_cast<const float4*>(from);
  to[0] = four.x;
  to[1] = four.y;
  to[2] = four.z;
  to[3] = four.w;
}

}  // namespace whittle::cuda
