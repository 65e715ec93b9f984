// Attention with the bits of the CPU's int8 engine (kernels/ref/attention_rows_bf16.cc): products of bf16 are exact in
// float32 and every sum has the CPU's order, so the multiply-add units do them, 64 queries of one head a block.
//
// The CPU takes the maximum of a whole row before it takes exponentials, so the keys are gone over twice: for the
// maxima, and for the sums. The scores of the first kKept tiles of keys, which come last the first time, stay in
// registers meanwhile; others are computed again.
//
// A multiply-add takes a cycle of its scheduler, as does any other instruction. So tiles are widened to float32 once,
// when they come, and a thread multiplies 4 queries by 8 keys or columns: 12 reads of 16 bytes for 128 multiply-adds.
#include <cmath>

#include "kernels/cuda/attention_float_tiles.cuh"

namespace whittle::cuda {

namespace {

constexpr int kKept = 3;
constexpr int kGroups = kKeys / 8;  // of 8 keys; a thread has one of each

// Each warp has 16 queries and all keys, its 32 threads as 4 queries by 8 keys. NVIDIA says of GPUs of 7.0 and 7.5 that
// reads of 16 bytes take half the time where all pairs of neighbours (or of next but one) read the same, so the lowest
// bit of a lane belongs to the keys and the second to the queries. An H200's times suggest that there they do not.
struct Place {
  int query, key;
};
__device__ __forceinline__ Place place_of(int lane) {
  return {(lane >> 1 & 1) | (lane >> 3 & 2), (lane & 1) | (lane >> 1 & 6)};
}
// Over the 8 lanes of the same queries, pairs 4 keys apart first, then 2, then 1, as the CPU adds.
template <typename Combine>
__device__ __forceinline__ float over_keys(float value, const Combine& combine) {
  value = combine(value, shuffle_xor(value, 8));
  value = combine(value, shuffle_xor(value, 4));
  return combine(value, shuffle_xor(value, 1));
}

// 2^t for t <= 0, as the CPU's power_of_two.
__device__ __forceinline__ float power_of_two(float t) {
  t = t < -126.0f ? -126.0f : t;
  const float whole = floorf(t), f = add(t, -whole);
  float p = multiply_add(0.0780230066f, f, 0.226069391f);
  p = multiply_add(p, f, 0.695832847f);
  p = multiply_add(p, f, 0.999925245f);
  // 3 * 2^22 + 127 + whole has 127 + whole in its lowest bits.
  return multiply(p, bits_float(float_bits(add(whole, 12583039.0f)) << 23));
}

// Scores of 4 queries, 4 apart, with kCount keys, 8 apart. queries, keys: the thread's first row. The second product of
// a pair is added first.
template <int kHead, int kRows, int kCount>
__device__ __forceinline__ void multiply_keys_exactly(const float* queries, const float* keys, int width,
                                                      float (&scores)[4][kGroups]) {
  constexpr int kStride = ExactTiles<kHead>::kStride;
#pragma unroll 1
  for (const float* end = queries + width; queries != end; queries += 4, keys += 4) {
    float q[kRows][4];
#pragma unroll
    for (int i = 0; i < kRows; ++i) read_four(queries + 4 * i * kStride, q[i]);
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      float k[4];
      read_four(keys + 8 * j * kStride, k);
#pragma unroll
      for (int d = 0; d < 4; ++d)
#pragma unroll
        for (int i = 0; i < kRows; ++i) scores[i][j] = add_exact_product(q[i][d], k[d], scores[i][j]);
    }
  }
}

// sums of 4 queries, 4 apart, += weights [4, keys] values [keys, head]; the thread has every 8th 4 columns. The second
// of two keys is added first.
template <int kHead, int kRows>
__device__ __forceinline__ void multiply_values_exactly(const float* weights, const float* values, int keys,
                                                        float (&sums)[4][kHead / 8]) {
  constexpr int kStride = ExactTiles<kHead>::kStride, kWeightStride = ExactTiles<kHead>::kWeightStride;
#pragma unroll 1
  for (const float* end = weights + (keys + 3) / 4 * 4; weights != end; weights += 4, values += 4 * kStride) {
    float p[kRows][4];
#pragma unroll
    for (int i = 0; i < kRows; ++i) read_four(weights + 4 * i * kWeightStride, p[i]);
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      const int e = step ^ 1;
#pragma unroll
      for (int c = 0; c < kHead / 32; ++c) {
        float v[4];
        read_four(values + e * kStride + 32 * c, v);
#pragma unroll
        for (int i = 0; i < kRows; ++i)
#pragma unroll
          for (int column = 0; column < 4; ++column)
            sums[i][4 * c + column] = add_exact_product(p[i][e], v[column], sums[i][4 * c + column]);
      }
    }
  }
}

// What is the same for all tiles of keys.
struct ScoreRule {
  float scale, factor;
  const float* bias;  // of distance 0, or null
  int query;          // the first of the thread's 4
  int length;
};

// Adds the bias, and makes scores beyond the sequence -infinity. first: the thread's first key.
__device__ __forceinline__ void finish_scores(const ScoreRule& rule, int first, float (&scores)[4][kGroups]) {
  if (rule.bias) {
    const float* bias = rule.bias + (first - rule.query);
#pragma unroll
    for (int j = 0; j < kGroups; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (first + 8 * j < rule.length && rule.query + 4 * i < rule.length)
          scores[i][j] = multiply_add(scores[i][j], rule.scale, bias[8 * j - 4 * i]);
      }
  }
  if (first / kKeys * kKeys + kKeys <= rule.length) return;
#pragma unroll
  for (int j = 0; j < kGroups; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[i][j] = first + 8 * j < rule.length ? scores[i][j] : -INFINITY;
}

// Exponentials of a query's scores as pairs of bf16, of keys 16 apart from pair to pair, and their sums: of the 32
// lanes in which the CPU adds them this thread has its first key's and each 8th from there.
__device__ __forceinline__ void take_exponentials(const ScoreRule& rule, int first, float shift,
                                                  const float (&scores)[kGroups], float (&total)[4],
                                                  uint32_t (&pairs)[kGroups / 2]) {
  float values[kGroups];
#pragma unroll
  for (int j = 0; j < kGroups; ++j) values[j] = power_of_two(multiply_add(scores[j], rule.factor, -shift));
  if (first / kKeys * kKeys + kKeys > rule.length) {
#pragma unroll
    for (int j = 0; j < kGroups; ++j) values[j] = first + 8 * j < rule.length ? values[j] : 0.0f;
  }
#pragma unroll
  for (int j = 0; j < kGroups; ++j) total[j % 4] = add(total[j % 4], values[j]);
#pragma unroll
  for (int j = 0; j < kGroups; j += 2) pairs[j / 2] = bf16_pair(values[j], values[j + 1]);
}

// kPlain: without bias, and the head size is a multiple of 8, so that all rows begin at multiples of 16 bytes.
template <int kHead, bool kPlain>
__global__ void __launch_bounds__(kExactThreads, kHead > 64 || !kPlain ? 2 : 3)
    attention_rows_bf16_kernel(const Attention a, float scale, float factor) {
  constexpr int kStride = ExactTiles<kHead>::kStride, kWeightStride = ExactTiles<kHead>::kWeightStride;
  if (static_cast<int64_t>(blockIdx.x) >= *a.tile_count) return;
  const AttentionTile tile = a.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), head_size = static_cast<int>(a.head_size);
  const int begin = a.offsets[tile.sequence], length = a.offsets[tile.sequence + 1] - begin;
  const int hidden = static_cast<int>(a.heads) * head_size;
  const HeadSource source{a.qkv + int64_t{begin} * (3 * hidden) + head * head_size, hidden, length, head_size};
  const ExactTiles<kHead> tiles{reinterpret_cast<float*>(dynamic_shared())};
  const int thread = static_cast<int>(threadIdx.x), warp = shuffle(thread / 32, 0);
  const Place place = place_of(thread % 32);
  const int blocks = (length + kKeys - 1) / kKeys;
  const bool aligned = kPlain || head_size % 8 == 0;
  const int rows = a.first_only ? 1 : length - tile.first;  // of this tile; more than 64: all

  // Keys and values come in this order: all keys, the values whose scores are kept, and then keys and values in turns.
  const int again = blocks > kKept ? blocks - kKept : 0, kept_blocks = blocks - again;
  const int others = blocks + kept_blocks, steps = others + 2 * again;
  const auto turn_of = [&](int step) -> Turn {
    if (step < blocks) return {kPartKeys, step < again ? step + kKept : step - again};
    if (step < others) return {kPartValues, step - blocks};
    return {(step - others) % 2 == 0 ? kPartKeys : kPartValues, kKept + (step - others) / 2};
  };
  const auto fetch = [&](int step) {
    if (!aligned || step >= steps) return;
    const Turn turn = turn_of(step);
    fetch_pieces<kHead>(tiles, source, turn.part, turn.block * kKeys);
    copy_async_commit();
  };
  // Step `step`, which brings this block of keys or values; with its queries, where probabilities were. Warps may wait
  // at different places, so the barriers are named ones.
  const auto enter = [&](int step, Part part, int block, bool with_queries) {
    sync_named(1, kExactThreads);  // All are done with what was there.
    if (with_queries) load_tile<kHead>(tiles.queries(), source, kPartQueries, tile.first, aligned);
    if (aligned) {
      copy_async_wait<0>();
      widen_pieces<kHead>(tiles);
      fetch(step + 1);
    } else {
      load_tile<kHead>(tiles.rows(), source, part, block * kKeys, aligned);
    }
    sync_named(1, kExactThreads);
  };
  fetch(0);
  if (16 * warp >= rows) {  // The warp has none of them and helps with copies.
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      const Turn turn = turn_of(step);
      enter(step, turn.part, turn.block, turn.part == kPartKeys && (step == 0 || step >= others));
    }
    return;
  }

  const float* bias = !kPlain && a.bias ? a.bias + head * (2 * a.max_distance - 1) + a.max_distance - 1 : nullptr;
  const ScoreRule rule{scale, factor, bias, tile.first + 16 * warp + place.query, length};
  const int width = (head_size + 7) / 8 * 8;
  const bool few = kPlain && rows - 16 * warp <= 8;  // the thread's first two queries are enough
  const auto score = [&](int block, float (&scores)[4][kGroups]) {
    const float* own_queries = tiles.queries() + (16 * warp + place.query) * kStride;
    const float* own_keys = tiles.rows() + place.key * kStride;
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < kGroups; ++j) scores[i][j] = 0;
    if (length - block * kKeys > kKeys / 2) {
      if (few)
        multiply_keys_exactly<kHead, 2, kGroups>(own_queries, own_keys, width, scores);
      else
        multiply_keys_exactly<kHead, 4, kGroups>(own_queries, own_keys, width, scores);
    } else {
      if (few)
        multiply_keys_exactly<kHead, 2, kGroups / 2>(own_queries, own_keys, width, scores);
      else
        multiply_keys_exactly<kHead, 4, kGroups / 2>(own_queries, own_keys, width, scores);
    }
    finish_scores(rule, block * kKeys + place.key, scores);
  };

  // Scores of the first tiles of keys, and in the end of the last of those that are kept.
  float kept[kKept - 1][4][kGroups], scores[4][kGroups];
  float highest[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
#pragma unroll 1
  for (int step = 0; step < blocks; ++step) {
    const int block = turn_of(step).block;
    enter(step, kPartKeys, block, step == 0);
    score(block, scores);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < kGroups; ++j) highest[i] = fmaxf(highest[i], scores[i][j]);
#pragma unroll
    for (int own = 0; own < kKept - 1; ++own)
      if (own == block) {
        sync_warp();  // Makes this a branch: 64 selections otherwise.
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < kGroups; ++j) kept[own][i][j] = scores[i][j];
      }
  }

  float shift[4], total[4][4] = {};
  uint32_t pairs[kKept][4][kGroups / 2] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    highest[i] = over_keys(highest[i], [](float one, float other) { return fmaxf(one, other); });
    shift[i] = multiply(highest[i], rule.factor);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int own = 0; own < kKept - 1; ++own)
      if (own < blocks)
        take_exponentials(rule, own * kKeys + place.key, shift[i], kept[own][i], total[i], pairs[own][i]);
    if (blocks >= kKept)
      take_exponentials(rule, (kKept - 1) * kKeys + place.key, shift[i], scores[i], total[i], pairs[kKept - 1][i]);
  }
  float sums[4][kHead / 8] = {};
  float* weights = tiles.weights() + (16 * warp + place.query) * kWeightStride;
  const auto write_weights = [&](const uint32_t (&from)[4][kGroups / 2]) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < kGroups; j += 2) {
        float* to = weights + 4 * i * kWeightStride + place.key + 8 * j;
        to[0] = first_of_pair(from[i][j / 2]);
        to[8] = second_of_pair(from[i][j / 2]);
      }
  };
  const auto add_values = [&](int block) {
    sync_warp();
    const int count = length - block * kKeys < kKeys ? length - block * kKeys : kKeys;
    if (few)
      multiply_values_exactly<kHead, 2>(weights, tiles.rows() + 4 * place.key, count, sums);
    else
      multiply_values_exactly<kHead, 4>(weights, tiles.rows() + 4 * place.key, count, sums);
  };
#pragma unroll
  for (int block = 0; block < kKept; ++block) {
    if (block >= kept_blocks) break;
    enter(blocks + block, kPartValues, block, false);
    write_weights(pairs[block]);
    add_values(block);
  }
  for (int block = kKept; block < blocks; ++block) {
    const int step = others + 2 * (block - kKept);
    enter(step, kPartKeys, block, true);
    uint32_t own[4][kGroups / 2];
    score(block, scores);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      take_exponentials(rule, block * kKeys + place.key, shift[i], scores[i], total[i], own[i]);
    enter(step + 1, kPartValues, block, false);
    write_weights(own);
    add_values(block);
  }

  float* y =
      static_cast<float*>(a.y) + int64_t{a.first_only ? tile.sequence : begin + tile.first} * hidden + head * head_size;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float lanes[2] = {add(total[i][0], total[i][2]), add(total[i][1], total[i][3])};  // 16 lanes apart
    const float sum = over_keys(add(lanes[0], lanes[1]), [](float one, float other) { return add(one, other); });
    const float inverse = 1.0f / sum;
    const int row = 16 * warp + place.query + 4 * i;
    if (row >= rows) continue;
#pragma unroll
    for (int c = 0; c < kHead / 32; ++c) {
      const int column = 4 * place.key + 32 * c;
      float four[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) four[e ^ 1] = multiply(sums[i][4 * c + e], inverse);
      float* to = y + row * hidden + column;
      if (aligned) {
        if (column < head_size) *reinterpret_cast<float4*>(to) = {four[0], four[1], four[2], four[3]};
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (column + e < head_size) to[e] = four[e];
      }
    }
  }
}

template <int kHead>
void launch_attention_rows_bf16(const Attention& a, Stream stream) {
  // What the CPU multiplies scores by, without bias and with it.
  const float scale = 1.0f / std::sqrt(static_cast<float>(a.head_size)), factor = a.bias ? kLog2E : scale * kLog2E;
  launch(!a.bias && a.head_size % 8 == 0 ? attention_rows_bf16_kernel<kHead, true>
                                         : attention_rows_bf16_kernel<kHead, false>,
         {a.most_tiles, a.heads}, kExactThreads, ExactTiles<kHead>::kSharedBytes, stream, a, scale, factor);
}

void run_attention_rows_bf16(const Attention& a, Stream stream) {
  start_for_head_size(a.head_size, [&](auto size) { launch_attention_rows_bf16<decltype(size)::kHead>(a, stream); });
}

}  // namespace

void add_attention_rows_bf16(KernelTable& table) {
  table.attention_rows_bf16 = run_attention_rows_bf16;
}

}  // namespace whittle::cuda
