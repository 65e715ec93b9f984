// A block's memory for keys and values in int8, how they come there, and their products, as attention_s8.cu uses them.
#pragma once

#include "kernels/byte_attention.h"
#include "kernels/cuda/attention_tiles.cuh"

namespace whittle::cuda {

static constexpr int kByteThreads = 128;
static constexpr int kUnit = 32;  // keys of one product of weights and values; 4 tiles of 8

// A chunk of keys and values of one head in shared memory, and what belongs to them. Each unit is fetched and prepared
// by one warp, which needs no other for that.
template <int kHead>
struct ByteChunk {
  static constexpr int kColumns = kHead / 16;  // pieces of 16 bytes of a row
  static constexpr int kKeyBytes = 2 * kHead + 4 * 4;

  uint8_t* shared;
  int room;  // keys, a multiple of 32
  // A row each. Of heads of 128, odd rows have their halves exchanged, so that two rows lie in different banks.
  __device__ __forceinline__ uint8_t* keys() const { return shared; }
  // 32 rows of 16 columns, one after the other, each at its row_place; then the next columns, then the next rows.
  __device__ __forceinline__ uint8_t* values() const { return shared + room * kHead; }
  // Of each 16 keys 16 scales, 16 times -kRounding * scale, 16 scales of values over the sequence's largest, and the
  // logarithms of those.
  static constexpr int kScales = 0, kStarts = 16, kRatios = 32, kLogarithms = 48;
  static __device__ __forceinline__ int float_offset(int key) { return key / 16 * 64 + key % 16; }
  __device__ __forceinline__ float* floats() const { return reinterpret_cast<float*>(shared + 2 * room * kHead); }
  // Times log2(e), of distances from the tile's last query to the chunk's first key on: room + 64 of them.
  __device__ __forceinline__ float* biases() const { return floats() + 4 * room; }
  static constexpr int shared_bytes(int room, bool with_bias) {
    return room * kKeyBytes + (with_bias ? (room + kAttentionQueries) * 4 : 0);
  }

  // The place of `column` of row `key`.
  static __device__ __forceinline__ int key_offset(int key, int column) {
    return key * kHead + (kHead > 64 ? column ^ (key & 1) << 6 : column);
  }
  // Column 2 q + e of tile t of a unit is key 16 (t / 2) + 4 q + 2 (t % 2) + e, so that thread q of a row has four
  // neighbours of each 16.
  static __device__ __forceinline__ int row_place(int key) {
    return (key & 16) | (key & 2) << 2 | (key & 12) >> 1 | (key & 1);
  }
  // Before they are turned, rows of piece c lie at their place ^ this: what lanes copy at a time lies in all banks.
  static __device__ __forceinline__ int spread(int piece) { return piece * (8 / kColumns); }
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

// Keys and values of one head of a sequence, and their scales.
struct ByteSource {
  HeadBytes keys, values;
  const float *key_scales, *value_scales;
};

__device__ __forceinline__ int at_most(int a, int b) {
  return a < b ? a : b;
}

// A lane's share of the calling warp's units of a chunk, of which it has `rows`: warp w has units w, w + 4, ...
template <int kHead>
struct UnitRows {
  ByteChunk<kHead> chunk;
  int rows, warp, lane;

  // Calls work(unit's first key) for each of the warp's.
  template <typename Work>
  __device__ __forceinline__ void for_each_unit(const Work& work) const {
#pragma unroll 1
    for (int at = warp * kUnit; at < rows; at += kByteThreads) work(at);
  }

  // Rows [first, first + rows) of keys and their scales, and of values and theirs: 16 bytes a copy, or single ones where
  // heads do not begin at multiples of 16. Behind the last row it comes again, without branches.
  template <bool kPlain>
  __device__ __forceinline__ void fetch(const ByteSource& source, bool with_values, int first) const {
    using Chunk = ByteChunk<kHead>;
    constexpr int kPieces = Chunk::kColumns, kStep = 32 / kPieces;
    const bool pieces = kPlain || source.keys.head_size % 16 == 0;
    const int row = lane / kPieces, piece = lane % kPieces, last = rows - 1;
    const int8_t* keys = settled(source.keys.at(first, piece * 16));
    const int8_t* values = settled(source.values.at(first, piece * 16));
    const float *key_scales = settled(source.key_scales + first), *value_scales = settled(source.value_scales + first);
    const uint32_t key = settled(shared_address(chunk.keys() + Chunk::key_offset(row, piece * 16)));
    const uint32_t value = settled(shared_address(chunk.values()) + piece * (kUnit * 16) +
                                   (Chunk::row_place(row) ^ Chunk::spread(piece)) * 16);
    const uint32_t floats = settled(shared_address(chunk.floats() + Chunk::float_offset(lane)));
    for_each_unit([&](int at) {
      if (pieces && (kPlain || piece * 16 < source.keys.head_size)) {
#pragma unroll
        for (int i = 0; i < kPieces; ++i) {
          const uint64_t from = static_cast<uint64_t>(static_cast<uint32_t>(at_most(at + row + i * kStep, last))) *
                                source.keys.stride;
          copy_async(key + at * kHead + i * kStep * kHead, keys + from);
          if (with_values) copy_async((value + at * kHead) ^ Chunk::row_place(i * kStep) * 16, values + from);
        }
      }
      const int own = at_most(at + lane, last);
      copy_async_word(floats + at * 16 + Chunk::kScales * 4, key_scales + own);
      copy_async_word(floats + at * 16 + Chunk::kRatios * 4, value_scales + own);
      if (!pieces)
        for (int row = 0; row < kUnit && at + row < rows; ++row)
#pragma unroll 1
          for (int column = lane; column < source.keys.head_size; column += 32) {
            const int piece = column / 16;
            chunk.keys()[Chunk::key_offset(at + row, column)] =
                static_cast<uint8_t>(*source.keys.at(first + at + row, column));
            chunk.values()[at * kHead + piece * (kUnit * 16) +
                           (Chunk::row_place(row) ^ Chunk::spread(piece)) * 16 + column % 16] =
                static_cast<uint8_t>(*source.values.at(first + at + row, column));
          }
    });
    copy_async_commit();
  }

  // What belongs to the keys, of what fetch has copied. inverse: 1 over the largest scale of the sequence's values, or 0.
  __device__ __forceinline__ void prepare_floats(float inverse) const {
    using Chunk = ByteChunk<kHead>;
    float* own = chunk.floats() + Chunk::float_offset(lane);
    for_each_unit([&](int at) {
      float* to = own + at * 4;
      const bool has = at + lane < rows;
      const float scale = has ? bits_float(float_bits(to[Chunk::kScales]) & kKeyScaleBits) : NAN;
      const float ratio = has ? multiply(to[Chunk::kRatios], inverse) : 0.0f;
      const int32_t bits = static_cast<int32_t>(float_bits(ratio)) - kOneBits;
      to[Chunk::kScales] = scale;
      to[Chunk::kStarts] = multiply(scale, -kRounding);
      to[Chunk::kRatios] = ratio;
      to[Chunk::kLogarithms] = fmaxf(multiply(static_cast<float>(bits), kLogarithmUnit), kLowestLogarithm);
    });
  }

  // The values, once they are there, as right operands, in their place: of 32 keys and 16 columns, lane l then has 16
  // bytes side by side, keys 0 to 15 and 16 to 31 of column 2 (l / 4), then of the next.
  __device__ __forceinline__ void turn_values() const {
    using Chunk = ByteChunk<kHead>;
    for_each_unit([&](int at) {
      uint8_t* values = chunk.values() + at * kHead;
#pragma unroll
      for (int piece = 0; piece < Chunk::kColumns; ++piece) {
        uint32_t r[4];
        load_matrix_transposed(r, values + piece * (kUnit * 16) + (lane ^ Chunk::spread(piece)) * 16);
        *reinterpret_cast<uint4*>(values + piece * (kUnit * 16) + lane * 16) = {
            permute_bytes(r[0], r[1], 0x6420), permute_bytes(r[2], r[3], 0x6420), permute_bytes(r[0], r[1], 0x7531),
            permute_bytes(r[2], r[3], 0x7531)};
      }
    });
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

// A tile of 8 keys as right operands: a lane's part of them.
template <int kHead>
struct ByteKeys {
  uint32_t words[kHead / 32][2];

  // keys, other_keys: the lane's row, from its first column on and 64 behind.
  __device__ __forceinline__ void load(const uint8_t* keys, const uint8_t* other_keys) {
    if constexpr (kHead < 64) {
      const uint2 two = *reinterpret_cast<const uint2*>(keys);
      words[0][0] = two.x, words[0][1] = two.y;
    } else {
#pragma unroll
      for (int piece = 0; piece < kHead / 64; ++piece) {
        const uint4 four = *reinterpret_cast<const uint4*>(piece == 0 ? keys : other_keys);
        words[2 * piece][0] = four.x, words[2 * piece][1] = four.y;
        words[2 * piece + 1][0] = four.z, words[2 * piece + 1][1] = four.w;
      }
    }
  }
  // scores [16, 8] + 1.5 * 2^23, as bits of float32.
  __device__ __forceinline__ void multiply(const uint32_t (&queries)[kHead / 32][4], int32_t (&scores)[4]) const {
    mma_s8_from(kRoundingBits, scores, queries[0], words[0][0], words[0][1]);
#pragma unroll
    for (int i = 1; i < kHead / 32; ++i) mma_s8(scores, queries[i], words[i][0], words[i][1]);
  }
};

}  // namespace whittle::cuda
