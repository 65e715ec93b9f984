// A block's memory for keys and values in int8, how they come there, and their products, as attention_s8.cu uses them.
#pragma once

#include "kernels/byte_attention.h"
#include "kernels/cuda/attention_tiles.cuh"

namespace whittle::cuda {

static constexpr int kByteThreads = 128;
static constexpr int kUnit = 32;  // keys of one product of weights and values; 4 tiles of 8

// A chunk of keys and values of one head in shared memory, and what belongs to them.
template <int kHead>
struct ByteChunk {
  static constexpr int kKeys = kHead > 64 ? 128 : 192, kUnits = kKeys / kUnit;
  static constexpr int kBytes = kKeys * kHead;
  static constexpr int kBiases = kKeys + kAttentionQueries;
  static constexpr int kSharedBytes = 2 * kBytes + 3 * kKeys * 4 + kByteThreads / 32 * 4;
  static constexpr int kSharedBytesWithBias = kSharedBytes + kBiases * 4;

  uint8_t* shared;
  // A row each. Of heads of 128, odd rows have their halves exchanged, so that two rows lie in different banks.
  __device__ __forceinline__ uint8_t* keys() const { return shared; }
  // 32 rows of 16 columns, one after the other, each at its row_place; then the next columns, then the next rows.
  __device__ __forceinline__ uint8_t* values() const { return shared + kBytes; }
  __device__ __forceinline__ float* key_scales() const { return reinterpret_cast<float*>(shared + 2 * kBytes); }
  // Scales of the values over the sequence's largest, and their logarithms.
  __device__ __forceinline__ float* value_ratios() const { return key_scales() + kKeys; }
  __device__ __forceinline__ float* logarithms() const { return key_scales() + 2 * kKeys; }
  __device__ __forceinline__ uint32_t* largest_scales() const {  // of v, a warp's share
    return reinterpret_cast<uint32_t*>(key_scales() + 3 * kKeys);
  }
  // Times log2(e), of distances from the tile's last query to the chunk's first key on.
  __device__ __forceinline__ float* biases() const { return key_scales() + 3 * kKeys + kByteThreads / 32; }

  // The place of `column` of row `key`.
  static __device__ __forceinline__ int key_offset(int key, int column) {
    return key * kHead + (kHead > 64 ? column ^ (key & 1) << 6 : column);
  }
  static __device__ __forceinline__ int value_offset(int key, int column) {
    return (key / kUnit * (kHead / 16) + column / 16) * (kUnit * 16) + row_place(key % kUnit) * 16 + column % 16;
  }
  // Column 2 q + e of tile t of a unit is key 16 (t / 2) + 4 q + 2 (t % 2) + e, so that thread q of a row has four
  // neighbours of each 16.
  static __device__ __forceinline__ int row_place(int key) {
    return (key & 16) | (key & 2) << 2 | (key & 12) >> 1 | (key & 1);
  }
};

// This thread's number in its block, with a range that the compiler sees. What was derived from the result of another
// call is derived anew rather than kept in registers.
__device__ __forceinline__ int byte_thread() {
  return static_cast<int>(settled(threadIdx.x) % kByteThreads);
}

// Bytes of one head of q, k or v: rows of a sequence, `stride` bytes apart.
struct HeadBytes {
  const int8_t* from;
  uint32_t stride;
  int head_size;

  __device__ __forceinline__ const int8_t* at(int row, int column) const {
    return from + column + static_cast<uint64_t>(static_cast<uint32_t>(row)) * stride;
  }
};

// Rows [first, first + rows) of keys, and of values if kValues, which lie `values_off` bytes behind, into a chunk: 16
// bytes a copy, or single ones where heads do not begin at multiples of 16.
template <int kHead, bool kPlain, bool kValues>
__device__ __forceinline__ void fetch_bytes(const ByteChunk<kHead>& chunk, const HeadBytes& keys, int values_off,
                                            int first, int rows, int thread) {
  using Chunk = ByteChunk<kHead>;
  constexpr int kPieces = kHead / 16, kStep = kByteThreads / kPieces;
  if (kPlain || keys.head_size % 16 == 0) {
    const int row = thread / kPieces, column = thread % kPieces * 16;
    const int8_t* from = settled(keys.at(first + row, column));
    const int8_t* values_from = settled(from + values_off);
    const uint32_t key = settled(shared_address(chunk.keys() + Chunk::key_offset(row, column)));
    const uint32_t value = settled(shared_address(chunk.values() + Chunk::value_offset(row, column)));
#pragma unroll
    for (int i = 0; i < Chunk::kKeys / kStep; ++i) {
      if (row + i * kStep < rows && (kPlain || column < keys.head_size)) {
        copy_async(key + i * kStep * kHead, from);
        if (kValues) copy_async(value + i * kStep / kUnit * (kUnit * kHead) + i * kStep % kUnit * 16, values_from);
      }
      from += kStep * keys.stride;
      values_from += kStep * keys.stride;
    }
    copy_async_commit();
  } else {
    for (int row = thread / 32; row < rows; row += kByteThreads / 32)
#pragma unroll 1
      for (int column = thread % 32; column < keys.head_size; column += 32) {
        const int8_t* from = keys.at(first + row, column);
        chunk.keys()[Chunk::key_offset(row, column)] = static_cast<uint8_t>(from[0]);
        if (kValues) chunk.values()[Chunk::value_offset(row, column)] = static_cast<uint8_t>(from[values_off]);
      }
  }
}

// What belongs to a thread's share of the keys of a chunk: the scales of keys and values.
template <int kHead>
struct OwnScales {
  static constexpr int kKeys = ByteChunk<kHead>::kKeys, kCount = (kKeys + kByteThreads - 1) / kByteThreads;
  int thread;
  float keys[kCount], values[kCount];

  // of_keys, of_values: of the chunk's first key.
  __device__ __forceinline__ OwnScales(const float* of_keys, const float* of_values, int count, int thread)
      : thread(thread) {
    const float *own_keys = settled(of_keys + thread), *own_values = settled(of_values + thread);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const bool has = thread + i * kByteThreads < count;
      keys[i] = has ? own_keys[i * kByteThreads] : NAN;
      values[i] = has ? own_values[i * kByteThreads] : 0.0f;
    }
  }
  // inverse: 1 over the largest scale of the sequence's values, or 0.
  __device__ __forceinline__ void store(const ByteChunk<kHead>& chunk, float inverse) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int key = thread + i * kByteThreads;
      if ((i + 1) * kByteThreads > kKeys && key >= kKeys) continue;
      const float ratio = multiply(values[i], inverse);
      chunk.key_scales()[key] = keys[i];
      chunk.value_ratios()[key] = ratio;
      const int32_t bits = static_cast<int32_t>(float_bits(ratio)) - kOneBits;
      chunk.logarithms()[key] = multiply(static_cast<float>(bits), kLogarithmUnit);
    }
  }
};

// The queries of lane l, rows l / 4 and l / 4 + 8 of the warp's 16, as left operands. Of each 64 columns a thread has
// 16 neighbours, and the same of each key: the order of columns in a product does not matter.
template <int kHead, bool kPlain>
__device__ __forceinline__ void load_byte_queries(const HeadBytes& source, const int (&rows)[2], int lane,
                                                  uint32_t (&queries)[kHead / 32][4]) {
  constexpr int kPiece = kHead < 64 ? 8 : 16, kWords = kPiece / 4;
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int piece = 0; piece < kHead / 4 / kPiece; ++piece) {
      const int column = piece * 64 + lane % 4 * kPiece;
      const int8_t* from = source.at(rows[half], column);
      uint32_t words[kWords];
      if constexpr (kPlain) {
        if constexpr (kWords == 4) {
          const uint4 four = *reinterpret_cast<const uint4*>(from);
          words[0] = four.x, words[1] = four.y, words[2] = four.z, words[3] = four.w;
        } else {
          const uint2 two = *reinterpret_cast<const uint2*>(from);
          words[0] = two.x, words[1] = two.y;
        }
      } else {
#pragma unroll
        for (int word = 0; word < kWords; ++word) {
          words[word] = 0;
#pragma unroll
          for (int byte = 0; byte < 4; ++byte)
            if (column + word * 4 + byte < source.head_size)
              words[word] |= static_cast<uint32_t>(static_cast<uint8_t>(from[word * 4 + byte])) << 8 * byte;
        }
      }
#pragma unroll
      for (int word = 0; word < kWords; ++word)
        queries[piece * (kWords / 2) + word / 2][word % 2 * 2 + half] = words[word];
    }
}

// scores [16, 8] + 1.5 * 2^23, as bits of float32, of the tile whose first key's row is `keys` for this lane.
template <int kHead>
__device__ __forceinline__ void multiply_byte_keys(const uint32_t (&queries)[kHead / 32][4], const uint8_t* keys,
                                                   const uint8_t* other_keys, int32_t (&scores)[4]) {
  if constexpr (kHead < 64) {
    const uint2 k = *reinterpret_cast<const uint2*>(keys);
    mma_s8_from(kRoundingBits, scores, queries[0], k.x, k.y);
  } else {
#pragma unroll
    for (int piece = 0; piece < kHead / 64; ++piece) {
      const uint4 k = *reinterpret_cast<const uint4*>(piece == 0 ? keys : other_keys);
      if (piece == 0)
        mma_s8_from(kRoundingBits, scores, queries[0], k.x, k.y);
      else
        mma_s8(scores, queries[2 * piece], k.x, k.y);
      mma_s8(scores, queries[2 * piece + 1], k.z, k.w);
    }
  }
}

// The first `keys` values as right operands, in their place: of 32 keys and 16 columns, lane l then has 16 bytes side
// by side, keys 0 to 15 and 16 to 31 of column 2 (l / 4), then of the next.
template <int kHead>
__device__ __forceinline__ void turn_values(uint8_t* values, int keys, int warp, int lane) {
  constexpr int kWarps = kByteThreads / 32, kColumns = kHead / 16;
  uint8_t* own = values + (warp * 32 + lane) * 16;
#pragma unroll
  for (int i = 0; i < ByteChunk<kHead>::kUnits * kColumns / kWarps; ++i) {
    // The warp's unit, or for heads of 32 that of the first of two warps.
    if (i * kWarps / kColumns * kUnit + (kColumns < kWarps ? warp / kColumns * kUnit : 0) >= keys) break;
    uint32_t r[4];
    load_matrix_transposed(r, own + i * kWarps * kUnit * 16);
    *reinterpret_cast<uint4*>(own + i * kWarps * kUnit * 16) = {
        permute_bytes(r[0], r[1], 0x6420), permute_bytes(r[2], r[3], 0x6420), permute_bytes(r[0], r[1], 0x7531),
        permute_bytes(r[2], r[3], 0x7531)};
  }
}

}  // namespace whittle::cuda
