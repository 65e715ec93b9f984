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

#include "kernels/cuda/attention_byte_tiles.cuh"

namespace whittle::cuda {

namespace {

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

// A block's part of the work, and a lane's of that. kPlain: heads are kHead wide and there is no bias.
template <int kHead, bool kPlain>
struct ByteTask {
  AttentionTile tile;
  int begin, length;  // of the sequence
  int head, head_size, hidden;
  int rows;    // of the tile; more than 64: all
  int own[2];  // the lane's of them, below rows or not
  HeadBytes q, k;
  const float *q_scales, *k_scales, *v_scales;
  const float* bias;  // of distance 0, or null
  int max_distance;

  __device__ __forceinline__ ByteTask(const ByteAttention& a, int warp, int lane) {
    tile = a.tiles[blockIdx.x];
    begin = a.offsets[tile.sequence];
    length = a.offsets[tile.sequence + 1] - begin;
    head = static_cast<int>(blockIdx.y);
    head_size = kPlain ? kHead : static_cast<int>(a.head_size);
    hidden = static_cast<int>(a.heads) * head_size;
    rows = a.first_only ? 1 : length - tile.first;
    own[0] = warp * 16 + lane / 4;
    own[1] = own[0] + 8;
    const uint32_t stride = static_cast<uint32_t>(a.stride);
    q = {a.qkv + head * head_size + static_cast<uint64_t>(static_cast<uint32_t>(begin)) * stride, stride, head_size};
    k = {q.from + hidden, stride, head_size};
    const uint32_t scale_stride = static_cast<uint32_t>(a.scale_stride), first = head * scale_stride + begin;
    q_scales = a.scales + first;
    k_scales = a.scales + (first + static_cast<uint32_t>(a.heads) * scale_stride);
    v_scales = a.scales + (first + 2 * static_cast<uint32_t>(a.heads) * scale_stride);
    bias = nullptr;
    max_distance = static_cast<int>(a.max_distance);
    if (!kPlain && a.bias) bias = a.bias + (head * (2 * a.max_distance - 1) + a.max_distance - 1);
  }
  // One of the tile's queries where the lane has none.
  __device__ __forceinline__ int query(int half) const { return tile.first + (own[half] < rows ? own[half] : 0); }
  __device__ __forceinline__ void load_queries(int lane, uint32_t (&queries)[kHead / 32][4]) const {
    const int own_queries[2] = {query(0), query(1)};
    load_byte_queries<kHead, kPlain>(q, own_queries, lane, queries);
  }
  __device__ __forceinline__ int keys_from(int first) const {
    return length - first < ByteChunk<kHead>::kKeys ? length - first : ByteChunk<kHead>::kKeys;
  }

  // The biases of the chunk that begins with key `first`; 0 for distances that no two tokens of the sequence have.
  __device__ __forceinline__ void store_biases(const ByteChunk<kHead>& chunk, int first, int thread) const {
    if constexpr (!kPlain) {
      if (!bias) return;
      for (int i = thread; i < ByteChunk<kHead>::kBiases; i += kByteThreads) {
        const int distance = first - tile.first - (kAttentionQueries - 1) + i;
        const bool has = distance > -max_distance && distance < max_distance;
        chunk.biases()[i] = multiply(has ? bias[distance] : 0.0f, kLog2E);
      }
    }
  }

  // Scores of keys [at, at + 32) of the chunk, times their keys' scales, or with the bias.
  __device__ __forceinline__ void score(const ByteChunk<kHead>& chunk, const uint32_t (&queries)[kHead / 32][4],
                                        const float (&scale)[2], int lane, int at, float (&x)[4][4]) const {
    const int own_key = lane / 8 * 4 + lane / 4 % 2, own_column = lane % 4 * (kHead < 64 ? 8 : 16);
    const uint8_t* own_keys = chunk.keys() + ByteChunk<kHead>::key_offset(own_key, own_column);
    const uint8_t* other_keys = chunk.keys() + ByteChunk<kHead>::key_offset(own_key, own_column + 64);
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
            const int distance = at + pair * 16 + lane % 4 * 4 + i - own[half];
            x[t][e] = multiply_add(x[t][e], scale[half], chunk.biases()[distance + kAttentionQueries - 1]);
          }
        }
    }
  }
};

// Of a lane's two rows the largest x and the largest x * scale + logarithm, so far.
struct ByteMaxima {
  float score[2], weight[2];

  __device__ __forceinline__ void raise(const float (&x)[4][4], const float (&scale)[2], const float* logarithms) {
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const float4 four = *reinterpret_cast<const float4*>(logarithms + pair * 16);
      const float own_logarithms[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float one = x[2 * pair + i / 2][2 * half + i % 2];
          score[half] = fmaxf(score[half], one);
          weight[half] = fmaxf(weight[half], multiply_add(one, scale[half], own_logarithms[i]));
        }
    }
  }
  static __device__ __forceinline__ float over_row(float value) {
    value = fmaxf(value, shuffle_xor(value, 1));
    return fmaxf(value, shuffle_xor(value, 2));
  }
  __device__ __forceinline__ void finish(ByteSoftmax& softmax) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float highest = multiply(over_row(score[half]), softmax.scale[half]);
      softmax.shift[half] = -highest;
      softmax.top[half] = multiply(kTopWeight, byte_power(fminf(add(highest, -over_row(weight[half])), kMostShift)));
    }
  }
};

template <int kHead, bool kPlain>
__global__ void __launch_bounds__(kByteThreads, kPlain && kHead <= 64 ? 3 : 2)
    attention_s8_kernel(const ByteAttention a, float factor) {
  using Chunk = ByteChunk<kHead>;
  using Scales = OwnScales<kHead>;
  using Task = ByteTask<kHead, kPlain>;
  constexpr int kKeys = Chunk::kKeys, kUnits = Chunk::kUnits;
  if (static_cast<int64_t>(blockIdx.x) >= *a.tile_count) return;
  const int thread = byte_thread(), lane = thread % 32, warp = shuffle(thread / 32, 0);
  const Chunk chunk{dynamic_shared()};
  const float* logarithms = chunk.logarithms() + lane % 4 * 4;
  const float* ratios = chunk.value_ratios() + lane % 4 * 4;
  const uint8_t* values = chunk.values() + lane * 16;
  const Task task(a, warp, lane);
  const int length = task.length, left = task.keys_from(0);  // left: keys of the first chunk
  const bool works = warp * 16 < task.rows;

  fetch_bytes<kHead, kPlain, true>(chunk, task.k, task.hidden, 0, left, thread);
  const Scales own_scales(task.k_scales, task.v_scales, left, thread);
  uint32_t queries[kHead / 32][4];
  float row_scales[2];
  task.load_queries(lane, queries);
#pragma unroll
  for (int half = 0; half < 2; ++half) row_scales[half] = multiply(task.q_scales[task.query(half)], factor);

  // The largest scale of the values. Bits of floats that are not negative have their order.
  uint32_t largest = 0;
#pragma unroll
  for (int i = 0; i < Scales::kCount; ++i) {
    const uint32_t bits = float_bits(own_scales.values[i]);
    largest = bits > largest ? bits : largest;
  }
  if (length > kKeys)
#pragma unroll 1
    for (int key = kKeys + thread; key < length; key += kByteThreads) {
      const uint32_t bits = float_bits(task.v_scales[key]);
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

  ByteSoftmax softmax;
#pragma unroll
  for (int half = 0; half < 2; ++half) softmax.scale[half] = !kPlain && task.bias ? 1.0f : row_scales[half];
  ByteMaxima maxima{{-INFINITY, -INFINITY}, {-INFINITY, -INFINITY}};
  if (length > kKeys) {
    // Those of all chunks but the first, whose keys then have to come again.
    for (int first = (length - 1) / kKeys * kKeys; first > 0; first -= kKeys) {
      const int count = task.keys_from(first);
      sync_block();
      fetch_bytes<kHead, kPlain, false>(chunk, task.k, 0, first, count, thread);
      Scales(task.k_scales + first, task.v_scales + first, count, thread).store(chunk, inverse);
      task.store_biases(chunk, first, thread);
      copy_async_wait<0>();
      sync_block();
      if (works)
#pragma unroll 1
        for (int at = 0; at < count; at += kUnit) {
          float x[4][4];
          task.score(chunk, queries, row_scales, lane, at, x);
          maxima.raise(x, softmax.scale, logarithms + at);
        }
    }
    sync_block();
    fetch_bytes<kHead, kPlain, false>(chunk, task.k, 0, 0, left, thread);
    copy_async_wait<0>();
  }
  own_scales.store(chunk, inverse);
  task.store_biases(chunk, 0, thread);
  turn_values<kHead>(chunk.values(), left, warp, lane);
  sync_block();

  ByteCarried<kHead> carried;
  if (works) {
    float kept[kUnits][4][4];
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit) {
      const int at = unit * kUnit;
      if (unit > 0 && at >= left) break;
      task.score(chunk, queries, row_scales, lane, at, kept[unit]);
      maxima.raise(kept[unit], softmax.scale, logarithms + at);
    }
    maxima.finish(softmax);
    carried = {};
#pragma unroll
    for (int unit = 0; unit < kUnits; ++unit) {
      const int at = unit * kUnit;
      if (unit > 0 && at >= left) break;
      weigh_unit<kHead>(kept[unit], softmax, ratios + at, values + at * kHead, left - at, carried);
    }
  }

  if (length > kKeys) {
    // All that is not carried comes anew: registers are scarce above.
    const int again_thread = byte_thread(), again_lane = again_thread % 32;
    const Task again(a, warp, again_lane);
    again.load_queries(again_lane, queries);
#pragma unroll
    for (int half = 0; half < 2; ++half) row_scales[half] = multiply(again.q_scales[again.query(half)], factor);
    for (int first = kKeys; first < again.length; first += kKeys) {
      const int count = again.keys_from(first);
      sync_block();
      fetch_bytes<kHead, kPlain, true>(chunk, again.k, again.hidden, first, count, again_thread);
      Scales(again.k_scales + first, again.v_scales + first, count, again_thread).store(chunk, inverse);
      again.store_biases(chunk, first, again_thread);
      copy_async_wait<0>();
      sync_block();
      turn_values<kHead>(chunk.values(), count, warp, again_lane);
      sync_block();
      if (works)
#pragma unroll 1
        for (int at = 0; at < count; at += kUnit) {
          float x[4][4];
          again.score(chunk, queries, row_scales, again_lane, at, x);
          weigh_unit<kHead>(x, softmax, chunk.value_ratios() + again_lane % 4 * 4 + at,
                            chunk.values() + again_lane * 16 + at * kHead, count - at, carried);
        }
    }
  }
  if (!works) return;

  // Of 16 columns lane l has 4 (l % 4) and the next three.
  const uint32_t added = static_cast<uint32_t>((length + 15) / 16 * 16) * static_cast<uint32_t>(kRoundingBits);
  const int64_t first_row = (a.first_only ? task.tile.sequence : task.begin + task.tile.first) + task.own[0];
  const int head_size = task.head_size;
  uint16_t* y = a.y + first_row * task.hidden + task.head * head_size + lane % 4 * 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    carried.total[half] += shuffle_xor(carried.total[half], 1);
    carried.total[half] += shuffle_xor(carried.total[half], 2);
    const float total = static_cast<float>(static_cast<int32_t>(carried.total[half] - added));
    const float f = multiply(kExponentialScale / multiply(softmax.top[half], total), largest_scale);
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

template <int kHead>
void launch_attention_s8(const ByteAttention& a, Stream stream) {
  const float factor = kLog2E * (1 / std::sqrt(static_cast<float>(a.head_size)));
  const Grid grid{a.most_tiles, a.heads};
  using Chunk = ByteChunk<kHead>;
  if (a.head_size == kHead && !a.bias)
    launch(attention_s8_kernel<kHead, true>, grid, kByteThreads, Chunk::kSharedBytes, stream, a, factor);
  else
    launch(attention_s8_kernel<kHead, false>, grid, kByteThreads, Chunk::kSharedBytesWithBias, stream, a, factor);
}

void run_attention_s8(const ByteAttention& a, Stream stream) {
  start_for_head_size(a.head_size, [&](auto size) { launch_attention_s8<decltype(size)::kHead>(a, stream); });
}

}  // namespace

void add_attention_s8(KernelTable& table) {
  table.attention_s8 = run_attention_s8;
}

}  // namespace whittle::cuda
