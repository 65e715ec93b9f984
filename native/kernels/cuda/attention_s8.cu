// Attention over int8 with the bits of the CPU's engine, whose arithmetic kernels/byte_attention.h explains: scores and
// results are sums of integers, which have no order, so that the matrix units do them; all else is float32, operation
// by operation. 64 queries of one head a block, 16 a warp.
//
// Weights become bytes, which needs the maxima of the whole row first, so the keys are multiplied twice: to keep the
// scores would take more registers than twice the warps of a multiprocessor leave, and warps hide what others wait for.
// Keys and values of most sequences fit into a block's shared memory; longer ones come in chunks, for the maxima from
// the last to the first, which then is there for the weights.
//
// What counts besides is the number of instructions a score. So
// - products start from the bits of 1.5 * 2^23, which makes their sums float32 without a conversion, and scales of keys
//   are such that one fma takes that off again, rounding as if it had not been there;
// - keys beyond the sequence have NaN for a scale: maxima leave NaN out, and saturation takes it for the lowest power;
// - the order of columns in q k^T and of keys in w v is free, and is one in which a thread reads 16 bytes at once and
//   has in its accumulators just the weights that it needs as the left operand;
// - values are turned to the order of the right operand once for all warps.
#include <cmath>

#include "kernels/cuda/attention_byte_tiles.cuh"

namespace whittle::cuda {

namespace {

// 2^(kSpan z + kLowest) for z within 0 and 1, as the CPU has it.
__device__ __forceinline__ float byte_power(float z) {
  const float r = multiply_add(z, kSpan, kExponentRounding), f = multiply_add(z, kSpan, -add(r, -kExponentRounding));
  constexpr float k0 = kPowerOfTwo[0], k1 = kPowerOfTwo[1], k2 = kPowerOfTwo[2], k3 = kPowerOfTwo[3];
  const float p = multiply_add(multiply_add(multiply_add(k3, f, k2), f, k1), f, k0);
  return bits_float(float_bits(p) + (float_bits(r) << 23));
}

// The lowest bytes of four words.
__device__ __forceinline__ uint32_t low_bytes(const uint32_t (&words)[4]) {
  return permute_bytes(permute_bytes(words[0], words[1], 0x0040), permute_bytes(words[2], words[3], 0x0040), 0x5410);
}

// 2^this is sum_scale of so many keys.
__device__ __forceinline__ int sum_shift(int keys) {
  return at_most(6, 127 + 14 - static_cast<int>(float_bits(static_cast<float>(keys)) >> 23));
}

// What a warp carries over the keys: of its 16 queries, lane l has l / 4 and l / 4 + 8, half 0 and 1.
template <int kHead>
struct ByteCarried {
  int32_t sums[kHead / 8][4];
  uint32_t total[2];  // of bits of float32
};

// A block's part of the work, and a lane's of that. kPlain: heads are kHead wide and there is no bias.
template <int kHead, bool kPlain>
struct ByteTask {
  AttentionTile tile;
  int head, head_size, hidden;
  int rows;    // of the tile; more than 64: all
  int own[2];  // the lane's of them, below rows or not
  HeadBytes q;
  const float* q_scales;
  ByteSource source;
  const float* bias;  // of distance 0, or null
  int max_distance;

  __device__ __forceinline__ ByteTask(const ByteAttention& a, const AttentionTile& tile, int warp, int lane)
      : tile(tile) {
    head = static_cast<int>(blockIdx.y);
    head_size = kPlain ? kHead : static_cast<int>(a.head_size);
    hidden = static_cast<int>(a.heads) * head_size;
    rows = a.first_only ? 1 : tile.length - tile.first;
    own[0] = warp * 16 + lane / 4;
    own[1] = own[0] + 8;
    const uint32_t stride = static_cast<uint32_t>(a.stride), begin = static_cast<uint32_t>(tile.begin);
    q = {a.qkv + head * head_size + static_cast<uint64_t>(begin) * stride, stride, head_size};
    const int8_t* k = q.from + hidden;
    const uint32_t scale_stride = static_cast<uint32_t>(a.scale_stride), first = head * scale_stride + begin;
    q_scales = a.scales + first;
    source = {{k, stride, head_size},
              {k + hidden, stride, head_size},
              a.scales + (first + static_cast<uint32_t>(a.heads) * scale_stride),
              a.scales + (first + 2 * static_cast<uint32_t>(a.heads) * scale_stride)};
    bias = nullptr;
    max_distance = static_cast<int>(a.max_distance);
    if (!kPlain && a.bias) bias = a.bias + (head * (2 * a.max_distance - 1) + a.max_distance - 1);
  }
  // One of the tile's queries where the lane has none.
  __device__ __forceinline__ int query(int half) const { return tile.first + (own[half] < rows ? own[half] : 0); }

  // The largest scale of the values, of which a lane has its share of the first kScales: bits of floats that are not
  // negative have their order. All lanes get it.
  static constexpr int kScales = 256;
  __device__ __forceinline__ void load_value_scales(int lane, float (&scales)[kScales / 32]) const {
#pragma unroll
    for (int i = 0; i < kScales / 32; ++i) scales[i] = source.value_scales[at_most(lane + i * 32, tile.length - 1)];
  }
  __device__ __forceinline__ float largest_value_scale(int lane, const float (&scales)[kScales / 32]) const {
    uint32_t largest = 0;
    const auto raise = [&](float scale) {
      const uint32_t bits = float_bits(scale);
      largest = bits > largest ? bits : largest;
    };
#pragma unroll
    for (int i = 0; i < kScales / 32; ++i) raise(scales[i]);
#pragma unroll 4
    for (int key = kScales + lane; key < tile.length; key += 32) raise(source.value_scales[key]);
    return bits_float(warp_max(largest));
  }

  // The biases of the chunk that begins with key `first`; 0 for distances that no two tokens of the sequence have.
  __device__ __forceinline__ void store_biases(const ByteChunk<kHead>& chunk, int first, int thread) const {
    if constexpr (!kPlain) {
      if (!bias) return;
      for (int i = thread; i < chunk.room + kAttentionQueries; i += kByteThreads) {
        const int distance = first - tile.first - (kAttentionQueries - 1) + i;
        const bool has = distance > -max_distance && distance < max_distance;
        chunk.biases()[i] = multiply(has ? bias[distance] : 0.0f, kLog2E);
      }
    }
  }
};

// Where a warp is in the chunk, and what of it concerns a lane: units are multiplied one by one.
template <int kHead, bool kPlain>
struct ByteCursor {
  using Chunk = ByteChunk<kHead>;
  const uint8_t *keys, *other_keys;  // of 64 columns and of those behind
  const float* floats;
  const float* biases[2];  // of the lane's two queries, or null
  const uint8_t* values;

  __device__ __forceinline__ ByteCursor(const Chunk& chunk, const ByteTask<kHead, kPlain>& task, int lane) {
    const int own_key = lane / 8 * 4 + lane / 4 % 2, own_column = lane % 4 * (kHead < 64 ? 8 : 16);
    keys = chunk.keys() + Chunk::key_offset(own_key, own_column);
    other_keys = chunk.keys() + Chunk::key_offset(own_key, own_column + 64);
    floats = chunk.floats() + lane % 4 * 4;
    values = chunk.values() + lane * 16;
    biases[0] = biases[1] = nullptr;
    if (!kPlain && task.bias)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        biases[half] = chunk.biases() + (kAttentionQueries - 1 + lane % 4 * 4 - task.own[half]);
  }
  __device__ __forceinline__ void next_unit() {
    keys += kUnit * kHead;
    other_keys += kUnit * kHead;
    floats += kUnit * 4;
    values += kUnit * kHead;
    if (!kPlain && biases[0]) {
      biases[0] += kUnit;
      biases[1] += kUnit;
    }
  }

  // The keys of the unit, or of the one `ahead` units behind it: what lies behind a chunk's keys may be read too.
  __device__ __forceinline__ void load_keys(ByteKeys<kHead> (&to)[4], int ahead) const {
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      const int row = (ahead * kUnit + t / 2 * 16 + t % 2 * 2) * kHead;
      to[t].load(keys + row, other_keys + row);
    }
  }
  // Scores of the unit's first 16 kPairs keys, bits of float32 and not yet scaled.
  template <int kPairs>
  __device__ __forceinline__ void multiply(const uint32_t (&queries)[kHead / 32][4], const ByteKeys<kHead> (&keys)[4],
                                           int32_t (&scores)[2 * kPairs][4]) const {
#pragma unroll
    for (int t = 0; t < 2 * kPairs; ++t) keys[t].multiply(queries, scores[t]);
  }
  // Scores times their keys' scales, or with the bias.
  template <int kPairs>
  __device__ __forceinline__ void scale_scores(const int32_t (&scores)[2 * kPairs][4], const float (&scale)[2],
                                               float (&x)[2 * kPairs][4]) const {
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      float scales[4], starts[4];
      load_four(pair, Chunk::kScales, scales);
      load_four(pair, Chunk::kStarts, starts);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& one = x[2 * pair + i / 2][2 * half + i % 2];
          const uint32_t bits = static_cast<uint32_t>(scores[2 * pair + i / 2][2 * half + i % 2]);
          one = multiply_add(bits_float(bits), scales[i], starts[i]);
          if (!kPlain && biases[0]) one = multiply_add(one, scale[half], biases[half][pair * 16 + i]);
        }
    }
  }
  // Raises the largest x * scale + logarithm of the lane's two rows; with a bias, x + logarithm.
  template <int kPairs>
  __device__ __forceinline__ void raise(const float (&x)[2 * kPairs][4], const float (&scale)[2],
                                        float (&highest)[2]) const {
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      float logarithms[4];
      load_four(pair, Chunk::kLogarithms, logarithms);
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float one = x[2 * pair + i / 2][2 * half + i % 2];
          highest[half] = fmaxf(highest[half], !kPlain && biases[0] ? add(one, logarithms[i])
                                                                    : multiply_add(one, scale[half], logarithms[i]));
        }
    }
  }
  // Powers of x * scale + shift, their sums, weights from them, and their products with the values.
  template <int kPairs>
  __device__ __forceinline__ void weigh(const float (&x)[2 * kPairs][4], const float (&scale)[2],
                                        const float (&shift)[2], float sum_start, ByteCarried<kHead>& carried) const {
    uint32_t weights[4] = {};
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      float ratios[4];
      load_four(pair, Chunk::kRatios, ratios);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float power = byte_power(
              saturated_multiply_add(x[2 * pair + i / 2][2 * half + i % 2], scale[half], shift[half]));
          carried.total[half] += float_bits(add(power, sum_start));
          words[i] = float_bits(multiply_add(power, ratios[i], kRounding));
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

  __device__ __forceinline__ void load_four(int pair, int which, float (&to)[4]) const {
    const float4 four = *reinterpret_cast<const float4*>(floats + pair * 64 + which);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  }
};

// Calls work(pairs of 16 keys) for each unit of `count` keys: half of one where that is all.
template <int kPairs>
struct Pairs {
  static constexpr int kCount = kPairs;
};
template <typename Cursor, typename Work>
__device__ __forceinline__ void for_each_unit(Cursor& cursor, int count, const Work& work) {
#pragma unroll 1
  for (; count > kUnit / 2; count -= kUnit, cursor.next_unit()) work(Pairs<2>{});
  if (count > 0) work(Pairs<1>{});
}

// Blocks of a multiprocessor that registers are to leave room for.
template <int kHead, bool kPlain>
constexpr int kByteBlocks = kHead > 64 ? 3 : kHead > 32 ? (kPlain ? 5 : 4) : (kPlain ? 6 : 5);

template <int kHead, bool kPlain>
__global__ void __launch_bounds__(kByteThreads, (kByteBlocks<kHead, kPlain>))
    attention_s8_kernel(const ByteAttention a, float factor, int room) {
  using Chunk = ByteChunk<kHead>;
  using Cursor = ByteCursor<kHead, kPlain>;
  const AttentionTile tile = a.tiles[blockIdx.x];
  if (tile.length == 0) return;
  using Task = ByteTask<kHead, kPlain>;
  const int warp = shuffle(static_cast<int>(threadIdx.x) / 32, 0);
  const Chunk chunk{dynamic_shared(), room};
  const int length = tile.length;
  const bool works = warp * 16 < (a.first_only ? 1 : length - tile.first);

  int last = 0;
#pragma unroll 1
  while (last + room < length) last += room;

  uint32_t queries[kHead / 32][4];
  float scale[2], largest, inverse;
  // All that is not carried comes anew where it is needed: registers are scarce.
  const auto fetch_chunk = [&](int first, bool with_values) {
    const int lane = byte_thread() % 32;
    UnitRows<kHead>{chunk, at_most(length - first, room), warp, lane}.template fetch<kPlain>(
        Task(a, tile, warp, lane).source, with_values, first);
  };
  // Copies begin first, and all other loads before what one of them brings is used.
  fetch_chunk(last, last == 0);
  {
    const int lane = byte_thread() % 32;
    const Task task(a, tile, warp, lane);
    const int own_queries[2] = {task.query(0), task.query(1)};
    float value_scales[Task::kScales / 32];
    task.load_value_scales(lane, value_scales);
    load_byte_queries<kHead, kPlain>(task.q, own_queries, lane, queries);
#pragma unroll
    for (int half = 0; half < 2; ++half) scale[half] = multiply(task.q_scales[own_queries[half]], factor);
    largest = task.largest_value_scale(lane, value_scales);
    inverse = largest == 0 ? 0.0f : 1.0f / largest;
  }
  // When the chunk whose first key is `first` has been fetched.
  const auto begin_chunk = [&](int first, bool with_values) {
    const int thread = byte_thread(), lane = thread % 32;
    const UnitRows<kHead> units{chunk, at_most(length - first, room), warp, lane};
    if constexpr (!kPlain) Task(a, tile, warp, lane).store_biases(chunk, first, thread);
    copy_async_wait<0>();
    sync_warp();
    units.prepare_floats(inverse);
    if (with_values) units.turn_values();
    sync_block();
  };

  float highest[2] = {-INFINITY, -INFINITY};
  int first = last;
#pragma unroll 1
  while (true) {
    begin_chunk(first, first == 0);
    if (works) {
      Cursor cursor(chunk, Task(a, tile, warp, byte_thread() % 32), byte_thread() % 32);
      ByteKeys<kHead> keys[4];  // on their way while what the ones before gave is compared
      cursor.load_keys(keys, 0);
      for_each_unit(cursor, at_most(length - first, room), [&](auto pairs) {
        constexpr int kPairs = decltype(pairs)::kCount;
        int32_t scores[2 * kPairs][4];
        float x[2 * kPairs][4];
        cursor.template multiply<kPairs>(queries, keys, scores);
        cursor.load_keys(keys, 1);
        cursor.template scale_scores<kPairs>(scores, scale, x);
        cursor.template raise<kPairs>(x, scale, highest);
      });
    }
    if (first == 0) break;
    first -= room;
    sync_block();
    fetch_chunk(first, first == 0);
  }

  const float sum_start = bits_float(kRoundingBits - (sum_shift(length) << 23));
  float power_scale[2], shift[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    highest[half] = fmaxf(highest[half], shuffle_xor(highest[half], 1));
    highest[half] = fmaxf(highest[half], shuffle_xor(highest[half], 2));
    shift[half] = multiply(add(kTopLogarithm - kLowest, -highest[half]), 1 / kSpan);
    power_scale[half] = !kPlain && a.bias ? 1 / kSpan : multiply(scale[half], 1 / kSpan);
  }
  ByteCarried<kHead> carried = {};
#pragma unroll 1
  while (true) {
    if (works) {
      Cursor cursor(chunk, Task(a, tile, warp, byte_thread() % 32), byte_thread() % 32);
      for_each_unit(cursor, at_most(length - first, room), [&](auto pairs) {
        constexpr int kPairs = decltype(pairs)::kCount;
        ByteKeys<kHead> keys[4];
        int32_t scores[2 * kPairs][4];
        float x[2 * kPairs][4];
        cursor.load_keys(keys, 0);
        cursor.template multiply<kPairs>(queries, keys, scores);
        cursor.template scale_scores<kPairs>(scores, scale, x);
        cursor.template weigh<kPairs>(x, power_scale, shift, sum_start, carried);
      });
    }
    first += room;
    if (first >= length) break;
    sync_block();
    fetch_chunk(first, true);
    begin_chunk(first, true);
  }
  if (!works) return;

  const int lane = byte_thread() % 32;
  const Task task(a, tile, warp, lane);
  // Of 16 columns lane l has 4 (l % 4) and the next three.
  const uint32_t added = static_cast<uint32_t>((length + 15) / 16 * 16) * float_bits(sum_start);
  const int64_t first_row = (a.first_only ? tile.sequence : tile.begin + tile.first) + task.own[0];
  const int head_size = task.head_size;
  uint16_t* y = a.y + first_row * task.hidden + task.head * head_size + lane % 4 * 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    carried.total[half] += shuffle_xor(carried.total[half], 1);
    carried.total[half] += shuffle_xor(carried.total[half], 2);
    const float total = static_cast<float>(static_cast<int32_t>(carried.total[half] - added));
    const float f = multiply(multiply(1.0f / total, bits_float(kOneBits + (sum_shift(length) << 23))), largest);
    const auto result = [&](int tile, int e) { return multiply(static_cast<float>(carried.sums[tile][e]), f); };
    if (half == 1) y += 8 * task.hidden;
    if (task.own[half] >= task.rows) continue;
#pragma unroll
    for (int i = 0; i < kHead / 16; ++i) {
      const uint32_t pairs[2] = {half_pair(result(2 * i, 2 * half), result(2 * i + 1, 2 * half)),
                                 half_pair(result(2 * i, 2 * half + 1), result(2 * i + 1, 2 * half + 1))};
      if (kPlain || (head_size % 4 == 0 && 16 * i + lane % 4 * 4 < head_size)) {
        *reinterpret_cast<uint2*>(y + 16 * i) = {pairs[0], pairs[1]};
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (16 * i + lane % 4 * 4 + e < head_size)
            y[16 * i + e] = static_cast<uint16_t>(pairs[e / 2] >> 16 * (e % 2));
      }
    }
  }
}

// kShared: KB of shared memory of a multiprocessor, of which a block takes what leaves room for the others.
template <int kHead, bool kPlain, int kShared>
constexpr int chunk_room() {
  constexpr int kBlock = kShared * 1024 / kByteBlocks<kHead, kPlain> - 1024;  // what the driver takes of each
  constexpr int kFixed = kPlain ? 0 : kAttentionQueries * 4, kKey = ByteChunk<kHead>::kKeyBytes + (kPlain ? 0 : 4);
  return (kBlock - kFixed) / kKey / kUnit * kUnit;
}

template <int kHead, bool kPlain, int kShared>
void launch_attention_s8(const ByteAttention& a, Stream stream) {
  constexpr int kRoom = chunk_room<kHead, kPlain, kShared>();
  const float factor = kLog2E * (1 / std::sqrt(static_cast<float>(a.head_size)));
  Grid grid{a.most_tiles, a.heads};
  grid.shared = true;
  launch(attention_s8_kernel<kHead, kPlain>, grid, kByteThreads, ByteChunk<kHead>::shared_bytes(kRoom, !kPlain), stream,
         a, factor, kRoom);
}

template <int kShared>
void run_attention_s8(const ByteAttention& a, Stream stream) {
  start_for_head_size(a.head_size, [&](auto size) {
    constexpr int kHead = decltype(size)::kHead;
    if (a.head_size == kHead && !a.bias)
      launch_attention_s8<kHead, true, kShared>(a, stream);
    else
      launch_attention_s8<kHead, false, kShared>(a, stream);
  });
}

}  // namespace

void add_attention_s8(KernelTable& table, const Target& target) {
  const int capability = target.capability;
  table.attention_s8 = capability >= 90 && capability < 120   ? run_attention_s8<228>
                       : capability == 80 || capability == 87 ? run_attention_s8<164>
                                                              : run_attention_s8<100>;
}

}  // namespace whittle::cuda
