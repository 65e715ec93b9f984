// Rows of one head in shared memory, as both kinds of attention read them.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace whittle::cuda {

static constexpr int kKeys = 64;  // of a tile
static constexpr float kLog2E = 1.4426950408889634f;
static_assert(kKeys == kAttentionQueries);

// Rows [first, first + 64) of one head of q, k or v into a tile, by a block of kThreads; zeros beyond the sequence and
// beyond the head. from: that of the sequence's first token. Rows of the tile are kStride elements apart. kUnroll
// copies are written out, which costs registers.
template <int kThreads, int kHead, int kStride, int kUnroll>
__device__ __forceinline__ void fetch_tile(uint16_t* tile, const uint16_t* from, int64_t stride, int first, int length,
                                           int head_size) {
  constexpr int kChunks = kHead / 8;
  const int thread = static_cast<int>(threadIdx.x);
  if (head_size % 8 == 0) {
#pragma unroll kUnroll
    for (int i = thread; i < kKeys * kChunks; i += kThreads) {
      const int row = i / kChunks, column = i % kChunks * 8;
      const bool valid = first + row < length && column < head_size;
      copy_async(tile + row * kStride + column, valid ? from + (first + row) * stride + column : from, valid);
    }
  } else {
#pragma unroll kUnroll
    for (int i = thread; i < kKeys * kHead; i += kThreads) {
      const int row = i / kHead, column = i % kHead;
      const bool valid = first + row < length && column < head_size;
      tile[row * kStride + column] = valid ? from[(first + row) * stride + column] : uint16_t{0};
    }
  }
}

}  // namespace whittle::cuda
