// Attention over int8 with the bits of the CPU's engine, whose arithmetic kernels/byte_attention.h explains: scores and
// results are sums of integers, which have no order, so that the matrix units do them; all else is float32, operation
// by operation. 64 queries of one head a block, 16 a warp.
//
// Weights become bytes, which needs the maxima of the whole row first. Scores, as float32 times the scale of their key,
// stay in registers meanwhile, of a chunk of 192 keys (128 where heads are wide): sequences above that go over their
// keys twice, for maxima from the last chunk to the first, whose scores stay, and then for sums in the other direction.
//
// What counts is the number of instructions a score. So
// - products start from the bits of 1.5 * 2^23, which makes their sums float32 without a conversion;
// - keys beyond the sequence have NaN for a scale: maxima leave NaN out, and powers take it for -100, which is nothing;
// - the order of columns in q k^T and of keys in w v is free, and is one in which a thread reads 16 bytes at once and
//   has in its accumulators just the weights that it needs as the left operand;
// - values are turned to the order of the right operand once for all warps.
#include <cmath>

#include "kernels/byte_attention.h"
#include "kernels/cuda/attention_tiles.cuh"

namespace whittle::cuda {

namespace {

constexpr int kByteThreads = 128;
constexpr int kUnit = 32;               // keys of one product of weights and values; 4 tiles of 8

// A chunk of keys and values of one head in shared memory, and what belongs to them.
template <int kHead>
struct ByteChunk {
  static constexpr int kKeys = kHead > 64 ? 128 : 192, kUnits = kKeys / kUnit;
  static constexpr int kBytes = kKeys * kHead;
  static constexpr int kSharedBytes = 2 * kBytes + 3 * kKeys * 4 + kByteThreads / 32 * 4;

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

// 2^y, as the CPU has it. NaN counts as -100.
__device__ __forceinline__ float byte_power(float y) {
  y = fmaxf(y, kLowestExponent);
  const float r = add(y, kRounding), f = add(y, -add(r, -kRounding));
  constexpr float k0 = kPowerOfTwo[0], k1 = kPowerOfTwo[1], k2 = kPowerOfTwo[2], k3 = kPowerOfTwo[3];
  const float p = multiply_add(multiply_add(multiply_add(k3, f, k2), f, k1), f, k0);
  return bits_float(float_bits(p) + (float_bits(r) << 23));
}

// The lowest bytes of four words.
__device__ __forceinline__ uint32_t low_bytes(const uint32_t (&words)[4]) {
  return permute_bytes(permute_bytes(words[0], words[1], 0x0040), permute_bytes(words[2], words[3], 0x0040), 0x5410);
}

// Bytes of one head of q, k or v: rows of a sequence, `stride` bytes apart.
struct ByteRows {
  const int8_t* from;
  int64_t stride;
  int head_size;
};

// Rows [first, first + rows) of keys, and of values if kValues, which lie `values_off` bytes behind, into a chunk: 16
// bytes a copy, or single ones where heads do not begin at multiples of 16.
template <int kHead, bool kPlain, bool kValues>
__device__ __forceinline__ void fetch_bytes(const ByteChunk<kHead>& chunk, const ByteRows& keys, int values_off,
                                            int first, int rows) {
  using Chunk = ByteChunk<kHead>;
  constexpr int kPieces = kHead / 16, kStep = kByteThreads / kPieces;
  const int thread = static_cast<int>(threadIdx.x);
  if (kPlain || keys.head_size % 16 == 0) {
    const int row = thread / kPieces, column = thread % kPieces * 16;
    const int8_t* from = keys.from + (first + row) * keys.stride + column;
    uint8_t* key = chunk.keys() + Chunk::key_offset(row, column);
    uint8_t* value = chunk.values() + Chunk::value_offset(row, column);
#pragma unroll
    for (int i = 0; i < Chunk::kKeys / kStep; ++i, from += kStep * keys.stride) {
      if (row + i * kStep >= rows || (!kPlain && column >= keys.head_size)) continue;
      copy_async(key + i * kStep * kHead, from);
      if (kValues) copy_async(value + i * kStep / kUnit * (kUnit * kHead) + i * kStep % kUnit * 16, from + values_off);
    }
    copy_async_commit();
  } else {
    for (int row = thread / 32; row < rows; row += kByteThreads / 32)
      for (int column = thread % 32; column < keys.head_size; column += 32) {
        const int8_t* from = keys.from + (first + row) * keys.stride + column;
        chunk.keys()[Chunk::key_offset(row, column)] = static_cast<uint8_t>(from[0]);
        if (kValues) chunk.values()[Chunk::value_offset(row, column)] = static_cast<uint8_t>(from[values_off]);
      }
  }
}

// What belongs to a thread's share of the keys of a chunk: the scales of keys and values.
template <int kHead>
struct OwnScales {
  static constexpr int kKeys = ByteChunk<kHead>::kKeys, kCount = (kKeys + kByteThreads - 1) / kByteThreads;
  float keys[kCount], values[kCount];

  // of_keys, of_values: of the chunk's first key.
  __device__ __forceinline__ OwnScales(const float* of_keys, const float* of_values, int count) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int key = static_cast<int>(threadIdx.x) + i * kByteThreads;
      keys[i] = key < count ? of_keys[key] : NAN;
      values[i] = key < count ? of_values[key] : 0.0f;
    }
  }
  // inverse: 1 over the largest scale of the sequence's values, or 0.
  __device__ __forceinline__ void store(const ByteChunk<kHead>& chunk, float inverse) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int key = static_cast<int>(threadIdx.x) + i * kByteThreads;
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
__device__ __forceinline__ void load_byte_queries(const ByteRows& source, const int (&rows)[2], int lane,
                                                  uint32_t (&queries)[kHead / 32][4]) {
  constexpr int kPiece = kHead < 64 ? 8 : 16, kWords = kPiece / 4;
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int piece = 0; piece < kHead / 4 / kPiece; ++piece) {
      const int column = piece * 64 + lane % 4 * kPiece;
      const int8_t* from = source.from + rows[half] * source.stride + column;
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

// Values of `units` groups of 32 keys as right operands, in their place: of 16 columns, lane l then has 16 bytes side
// by side, keys 0 to 15 and 16 to 31 of column 2 (l / 4), then of the next.
template <int kHead>
__device__ __forceinline__ void turn_values(uint8_t* values, int units, int warp, int lane) {
  for (int i = warp; i < units * (kHead / 16); i += kByteThreads / 32) {
    uint8_t* own = values + i * (kUnit * 16) + lane * 16;
    uint32_t r[4];
    load_matrix_transposed(r, own);
    *reinterpret_cast<uint4*>(own) = {permute_bytes(r[0], r[1], 0x6420), permute_bytes(r[2], r[3], 0x6420),
                                      permute_bytes(r[0], r[1], 0x7531), permute_bytes(r[2], r[3], 0x7531)};
  }
}

// What a warp carries over the keys: of its 16 queries, lane l has l / 4 and l / 4 + 8, half 0 and 1.
template <int kHead>
struct ByteCarried {
  int32_t sums[kHead / 8][4];
  uint32_t total[2];  // of bits of float32
};

// What all scores of a lane's two queries are treated with: y = x * scale + shift, or with a bias x + shift (scale 1).
struct ByteSoftmax {
  float scale[2], shift[2], top[2];
};

// Powers of a unit's scores x, weights from them, and their products with the values. left: of the unit's keys; 16 or
// fewer take half the work.
template <int kHead>
__device__ __forceinline__ void weigh_unit(const float (&x)[4][4], const ByteSoftmax& softmax, const float* ratios,
                                           const uint8_t* values, int left, ByteCarried<kHead>& carried) {
  uint32_t weights[4] = {};
#pragma unroll
  for (int pair = 0; pair < 2; ++pair) {
    if (pair == 1 && left <= kUnit / 2) break;
    const float4 four = *reinterpret_cast<const float4*>(ratios + pair * 16);
    const float own_ratios[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t words[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float power = byte_power(
            multiply_add(x[2 * pair + i / 2][2 * half + i % 2], softmax.scale[half], softmax.shift[half]));
        carried.total[half] += float_bits(multiply_add(power, kExponentialScale, kRounding));
        words[i] = float_bits(multiply_add(multiply(power, softmax.top[half]), own_ratios[i], kRounding));
      }
      weights[2 * pair + half] = low_bytes(words);
    }
  }
#pragma unroll
  for (int i = 0; i < kHead / 16; ++i) {
    const uint4 four = *reinterpret_cast<const uint4*>(values + i * (kUnit * 16));
    mma_u8_s8(carried.sums[2 * i], weights, four.x, four.y);
    mma_u8_s8(carried.sums[2 * i + 1], weights, four.z, four.w);
  }
}

// kPlain: heads are kHead wide and there is no bias.
template <int kHead, bool kPlain>
__global__ void __launch_bounds__(kByteThreads, kPlain && kHead <= 64 ? 3 : 2)
    attention_s8_kernel(const ByteAttention a, float factor) {
  using Chunk = ByteChunk<kHead>;
  using Scales = OwnScales<kHead>;
  constexpr int kKeys = Chunk::kKeys, kUnits = Chunk::kUnits;
  if (static_cast<int64_t>(blockIdx.x) >= *a.tile_count) return;
  const AttentionTile tile = a.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), head_size = kPlain ? kHead : static_cast<int>(a.head_size);
  const int heads = static_cast<int>(a.heads), hidden = heads * head_size;
  const int begin = a.offsets[tile.sequence], length = a.offsets[tile.sequence + 1] - begin;
  const ByteRows q{a.qkv + begin * a.stride + head * head_size, a.stride, head_size};
  const ByteRows k{q.from + hidden, a.stride, head_size};
  const float* q_scales = a.scales + head * a.scale_stride + begin;
  const float* k_scales = q_scales + heads * a.scale_stride;
  const float* v_scales = k_scales + heads * a.scale_stride;
  const Chunk chunk{dynamic_shared()};
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = shuffle(static_cast<int>(threadIdx.x) / 32, 0);
  const int rows = a.first_only ? 1 : length - tile.first;  // of this tile; more than 64: all
  const bool works = warp * 16 < rows;
  const int left = length < kKeys ? length : kKeys;  // keys of the first chunk

  const int own[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};  // rows of the tile
  const float* bias = nullptr;  // from the lane's first query on
  if (!kPlain && a.bias) bias = a.bias + head * (2 * a.max_distance - 1) + a.max_distance - 1 - (tile.first + own[0]);

  fetch_bytes<kHead, kPlain, true>(chunk, k, hidden, 0, left);
  const Scales own_scales(k_scales, v_scales, left);
  uint32_t queries[kHead / 32][4];
  float row_scales[2];
  if (works) {
    int at[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) at[half] = tile.first + (own[half] < rows ? own[half] : 0);
    load_byte_queries<kHead, kPlain>(q, at, lane, queries);
#pragma unroll
    for (int half = 0; half < 2; ++half) row_scales[half] = multiply(q_scales[at[half]], factor);
  }
  uint32_t largest = 0;  // bits of floats that are not negative: they have the same order
#pragma unroll
  for (int i = 0; i < Scales::kCount; ++i) {
    const uint32_t bits = float_bits(own_scales.values[i]);
    largest = bits > largest ? bits : largest;
  }
#pragma unroll 1
  for (int key = kKeys + static_cast<int>(threadIdx.x); key < length; key += kByteThreads) {
    const uint32_t bits = float_bits(v_scales[key]);
    largest = bits > largest ? bits : largest;
  }
  largest = warp_max(largest);
  if (lane == 0) chunk.largest_scales()[warp] = largest;
  copy_async_wait<0>();
  sync_block();
#pragma unroll
  for (int i = 0; i < kByteThreads / 32; ++i) {
    const uint32_t bits = chunk.largest_scales()[i];
    largest = bits > largest ? bits : largest;
  }
  const float largest_scale = bits_float(largest), inverse = largest == 0 ? 0.0f : 1.0f / largest_scale;

  // Scores of keys [at, at + 32) of the chunk that begins with key `first`, times their keys' scales, or with the bias.
  const int own_key = lane / 8 * 4 + lane / 4 % 2, own_column = lane % 4 * (kHead < 64 ? 8 : 16);
  const uint8_t* own_keys = chunk.keys() + Chunk::key_offset(own_key, own_column);
  const uint8_t* other_keys = chunk.keys() + Chunk::key_offset(own_key, own_column + 64);
  const auto score = [&](int first, int at, float (&x)[4][4]) {
    int32_t scores[4][4];
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      const int row = (at + t / 2 * 16 + t % 2 * 2) * kHead;
      multiply_byte_keys<kHead>(queries, own_keys + row, other_keys + row, scores[t]);
    }
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const float4 four = *reinterpret_cast<const float4*>(chunk.key_scales() + lane % 4 * 4 + at + pair * 16);
      const float scales[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int t = 2 * pair + i / 2, e = 2 * half + i % 2;
          x[t][e] = multiply(add(bits_float(static_cast<uint32_t>(scores[t][e])), -kRounding), scales[i]);
          if (!kPlain && bias) {
            const int key = first + at + pair * 16 + lane % 4 * 4 + i;
            const bool has = key < length && own[half] < rows;
            x[t][e] = multiply_add(x[t][e], row_scales[half], multiply(has ? bias[key - half * 8] : 0.0f, kLog2E));
          }
        }
    }
  };
  ByteSoftmax softmax;
#pragma unroll
  for (int half = 0; half < 2; ++half) softmax.scale[half] = !kPlain && bias ? 1.0f : row_scales[half];
  float most[2] = {-INFINITY, -INFINITY}, most_weight[2] = {-INFINITY, -INFINITY};
  const auto raise_maxima = [&](int at, const float (&x)[4][4]) {
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const float4 four = *reinterpret_cast<const float4*>(chunk.logarithms() + lane % 4 * 4 + at + pair * 16);
      const float logarithms[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float one = x[2 * pair + i / 2][2 * half + i % 2];
          most[half] = fmaxf(most[half], one);
          most_weight[half] = fmaxf(most_weight[half], multiply_add(one, softmax.scale[half], logarithms[i]));
        }
    }
  };

  // Maxima of all chunks but the first, and then the first, whose bytes may have to come again.
  if (length > kKeys) {
    for (int first = (length - 1) / kKeys * kKeys; first > 0; first -= kKeys) {
      const int count = length - first < kKeys ? length - first : kKeys;
      sync_block();
      fetch_bytes<kHead, kPlain, false>(chunk, k, hidden, first, count);
      Scales(k_scales + first, v_scales + first, count).store(chunk, inverse);
      copy_async_wait<0>();
      sync_block();
      if (works)
#pragma unroll 1
        for (int at = 0; at < count; at += kUnit) {
          float x[4][4];
          score(first, at, x);
          raise_maxima(at, x);
        }
    }
    sync_block();
    fetch_bytes<kHead, kPlain, false>(chunk, k, hidden, 0, left);
    copy_async_wait<0>();
  }
  own_scales.store(chunk, inverse);
  turn_values<kHead>(chunk.values(), (left + kUnit - 1) / kUnit, warp, lane);
  sync_block();
  float kept[kUnits][4][4];
  ByteCarried<kHead> carried{};
  const uint8_t* values = chunk.values() + lane * 16;
  const float* ratios = chunk.value_ratios() + lane % 4 * 4;
  if (works) {
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit) {
      if (unit * kUnit >= left) break;
      score(0, unit * kUnit, kept[unit]);
      raise_maxima(unit * kUnit, kept[unit]);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto over_row = [](float value) {
        value = fmaxf(value, shuffle_xor(value, 1));
        return fmaxf(value, shuffle_xor(value, 2));
      };
      const float highest = multiply(over_row(most[half]), softmax.scale[half]);
      softmax.shift[half] = -highest;
      softmax.top[half] =
          multiply(kTopWeight, byte_power(fminf(add(highest, -over_row(most_weight[half])), kMostShift)));
    }
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit) {
      const int at = unit * kUnit;
      if (at >= left) break;
      weigh_unit<kHead>(kept[unit], softmax, ratios + at, values + at * kHead, left - at, carried);
    }
  }

  for (int first = kKeys; first < length; first += kKeys) {
    const int count = length - first < kKeys ? length - first : kKeys;
    sync_block();
    fetch_bytes<kHead, kPlain, true>(chunk, k, hidden, first, count);
    Scales(k_scales + first, v_scales + first, count).store(chunk, inverse);
    copy_async_wait<0>();
    sync_block();
    turn_values<kHead>(chunk.values(), (count + kUnit - 1) / kUnit, warp, lane);
    sync_block();
    if (works)
#pragma unroll 1
      for (int at = 0; at < count; at += kUnit) {
        float x[4][4];
        score(first, at, x);
        weigh_unit<kHead>(x, softmax, ratios + at, values + at * kHead, count - at, carried);
      }
  }
  if (!works) return;

  // Of 16 columns lane l has 4 (l % 4) and the next three.
  const uint32_t added = static_cast<uint32_t>((length + 15) / 16 * 16) * static_cast<uint32_t>(kRoundingBits);
  const int64_t first_row = a.first_only ? tile.sequence : begin + tile.first;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    carried.total[half] += shuffle_xor(carried.total[half], 1);
    carried.total[half] += shuffle_xor(carried.total[half], 2);
    const float total = static_cast<float>(static_cast<int32_t>(carried.total[half] - added));
    const float f = kExponentialScale / multiply(softmax.top[half], total);
    const auto result = [&](int32_t sum) { return multiply(multiply(static_cast<float>(sum), f), largest_scale); };
    if (own[half] >= rows) continue;
    float* y = a.y + (first_row + own[half]) * hidden + head * head_size + lane % 4 * 4;
#pragma unroll
    for (int i = 0; i < kHead / 16; ++i) {
      const float four[4] = {result(carried.sums[2 * i][2 * half]), result(carried.sums[2 * i + 1][2 * half]),
                             result(carried.sums[2 * i][2 * half + 1]), result(carried.sums[2 * i + 1][2 * half + 1])};
      if (kPlain || (head_size % 4 == 0 && 16 * i + lane % 4 * 4 < head_size)) {
        *reinterpret_cast<float4*>(y + 16 * i) = {four[0], four[1], four[2], four[3]};
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (16 * i + lane % 4 * 4 + e < head_size) y[16 * i + e] = four[e];
      }
    }
  }
}

template <int kHead>
void launch_attention_s8(const ByteAttention& a, Stream stream) {
  const float factor = kLog2E * (1 / std::sqrt(static_cast<float>(a.head_size)));
  launch(a.head_size == kHead && !a.bias ? attention_s8_kernel<kHead, true> : attention_s8_kernel<kHead, false>,
         {a.most_tiles, a.heads}, kByteThreads, ByteChunk<kHead>::kSharedBytes, stream, a, factor);
}

void run_attention_s8(const ByteAttention& a, Stream stream) {
  start_for_head_size(a.head_size, [&](auto size) { launch_attention_s8<decltype(size)::kHead>(a, stream); });
}

}  // namespace

void add_attention_s8(KernelTable& table) {
  table.attention_s8 = run_attention_s8;
}

}  // namespace whittle::cuda
