// Rows of one head in shared memory, as both kinds of attention read them.
#pragma once

#include <string>

#include "kernels/cuda/launch.cuh"

namespace whittle::cuda {

static constexpr int kKeys = 64;  // of a tile
static constexpr float kLog2E = 1.4426950408889634f;
static_assert(kKeys == kAttentionQueries);

// Rows [first, first + 64) of one head of q, k or v into a tile, by a block of kThreads; zeros beyond the sequence and
// beyond the head. from: that of the sequence's first token. Rows of the tile are kStride elements apart.
template <int kThreads, int kHead, int kStride>
__device__ __forceinline__ void fetch_tile(uint16_t* tile, const uint16_t* from, int64_t stride, int first, int length,
                                           int head_size) {
  constexpr int kChunks = kHead / 8;
  const int thread = static_cast<int>(threadIdx.x);
  if (head_size % 8 == 0) {
#pragma unroll 1
    for (int i = thread; i < kKeys * kChunks; i += kThreads) {
      const int row = i / kChunks, column = i % kChunks * 8;
      const bool valid = first + row < length && column < head_size;
      copy_async(tile + row * kStride + column, valid ? from + (first + row) * stride + column : from, valid);
    }
  } else {
#pragma unroll 1
    for (int i = thread; i < kKeys * kHead; i += kThreads) {
      const int row = i / kHead, column = i % kHead;
      const bool valid = first + row < length && column < head_size;
      tile[row * kStride + column] = valid ? from[(first + row) * stride + column] : uint16_t{0};
    }
  }
}

// Calls start(HeadSize) with the narrowest head of shared memory that holds heads of `head_size`.
template <int kTakeHead>
struct HeadSize {
  static constexpr int kHead = kTakeHead;
};
template <typename Start>
void start_for_head_size(int64_t head_size, const Start& start) {
  if (head_size <= 32)
    start(HeadSize<32>{});
  else if (head_size <= 64)
    start(HeadSize<64>{});
  else if (head_size <= kWidestHead)
    start(HeadSize<128>{});
  else
    throw Error("INTERNAL", "Expected heads of at most " + std::to_string(kWidestHead) + " but found " +
                                std::to_string(head_size));
}

// A thread's share of the rows of heads of exactly kHead elements: one 16-byte column of every kRows-th row, so that
// addresses are a base and steps.
template <int kThreads, int kHead, int kStride>
struct TileShare {
  static constexpr int kRows = kThreads / (kHead / 8), kCount = kKeys / kRows;
  int row;
  const uint16_t* from;  // the row of the sequence and column
  int to;                // in a tile

  // from: of the sequence's first token.
  __device__ __forceinline__ TileShare(const uint16_t* sequence, int64_t stride)
      : row(static_cast<int>(threadIdx.x) / (kHead / 8)) {
    const int column = static_cast<int>(threadIdx.x) % (kHead / 8) * 8;
    from = sequence + row * stride + column;
    to = row * kStride + column;
  }
  // Rows [first, first + 64) into a tile, zeros beyond the sequence.
  __device__ __forceinline__ void fetch(uint16_t* tile, const uint16_t* at, int64_t stride, int rows_left) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      copy_async(tile + to + i * kRows * kStride, at + i * kRows * stride, row + i * kRows < rows_left);
  }
};

}  // namespace whittle::cuda
