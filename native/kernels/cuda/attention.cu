// Attention over a ragged batch in one pass over the keys (Dao et al. 2022, FlashAttention): blocks of 64 queries of
// one head against blocks of 64 keys, with the maximum and the sum of the softmax carried along.
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/operand_chunk.cuh"

namespace whittle::cuda {

namespace {

constexpr int kAttentionThreads = 128;  // a warp has 16 queries
// Blocks of a multiprocessor at least, for their registers. GPUs of 100 KB of shared memory have no room for more.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890)
constexpr int kMostBlocks = 2;
#else
constexpr int kMostBlocks = 4;
#endif
template <int kHead, bool kSplit>
constexpr int kAttentionBlocks = kSplit || kHead > 64 ? 2 : kMostBlocks;

template <bool kTake>
struct Truth {
  static constexpr bool kValue = kTake;
};

// Rows of shared memory have 16 bytes more than their head, so that the 8 rows of a matrix lie in different banks.
template <int kHead, bool kSplit>
struct Tiles {
  static constexpr int kStride = kHead + 8;                    // elements
  static constexpr int kTile = kKeys * kStride;                // elements of 64 rows
  static constexpr int kParts = kSplit ? 2 : 1;                // high and low
  static constexpr int kSharedBytes = 5 * kParts * kTile * 2;  // queries, and two stages of keys and values

  uint16_t* shared;
  __device__ __forceinline__ uint16_t* queries(int part) const { return shared + part * kTile; }
  __device__ __forceinline__ uint16_t* keys(int stage, int part) const {
    return shared + ((1 + 2 * stage) * kParts + part) * kTile;
  }
  __device__ __forceinline__ uint16_t* values(int stage, int part) const {
    return shared + ((2 + 2 * stage) * kParts + part) * kTile;
  }
};

// Products go over groups of 16 keys. kAll: all four of a tile, else the first `groups`.
template <bool kAll>
__device__ __forceinline__ bool is_used(int group, int groups) {
  return kAll || group < groups;
}

// scores [16, 64] += queries keys^T
template <bool kAll, int kHead, int kStride>
__device__ __forceinline__ void multiply_keys(const uint32_t (&queries)[kHead / 16][4], const uint16_t* keys, int lane,
                                              int groups, float (&scores)[kKeys / 8][4]) {
  const int matrix = lane / 8, row = matrix / 2 * 8 + lane % 8, column = matrix % 2 * 8;
  const uint16_t* from = keys + row * kStride + column;
  const auto multiply = [&](int step, int group) {
    uint32_t k[4];
    load_matrix(k, from + group * 16 * kStride + step * 16);
    mma_half(scores[2 * group], queries[step], k[0], k[1]);
    mma_half(scores[2 * group + 1], queries[step], k[2], k[3]);
  };
  if constexpr (kAll) {
#pragma unroll
    for (int step = 0; step < kHead / 16; ++step)
#pragma unroll
      for (int group = 0; group < kKeys / 16; ++group) multiply(step, group);
  } else {
#pragma unroll
    for (int group = 0; group < kKeys / 16; ++group)
      if (group < groups)
#pragma unroll
        for (int step = 0; step < kHead / 16; ++step) multiply(step, group);
  }
}

// sums [16, head] += weights [16, 64] values
template <bool kAll, int kHead, int kStride>
__device__ __forceinline__ void multiply_values(const uint32_t (&weights)[kKeys / 16][4], const uint16_t* values,
                                                int lane, int groups, float (&sums)[kHead / 8][4]) {
  const int matrix = lane / 8, row = matrix % 2 * 8 + lane % 8, column = matrix / 2 * 8;
  const uint16_t* from = values + row * kStride + column;
#pragma unroll
  for (int group = 0; group < kKeys / 16; ++group)
    if (is_used<kAll>(group, groups))
#pragma unroll
      for (int pair = 0; pair < kHead / 16; ++pair) {
        uint32_t v[4];
        load_matrix_transposed(v, from + group * 16 * kStride + pair * 16);
        mma_half(sums[2 * pair], weights[group], v[0], v[1]);
        mma_half(sums[2 * pair + 1], weights[group], v[2], v[3]);
      }
}

template <int kHead, int kStride>
__device__ __forceinline__ void load_queries(uint32_t (&queries)[kHead / 16][4], const uint16_t* tile, int lane) {
  const int matrix = lane / 8;
#pragma unroll
  for (int step = 0; step < kHead / 16; ++step)
    load_matrix(queries[step], tile + (matrix % 2 * 8 + lane % 8) * kStride + step * 16 + matrix / 2 * 8);
}

// Where column `column` (a multiple of 8) of a row of the result lies; `part` 1: what the first part left.
__device__ __forceinline__ uint8_t* result_at(const Attention& a, int64_t row, int column, int part) {
  const int hidden = static_cast<int>(a.heads * a.head_size);
  const int blocks = blocks_of_part(a.y_form, hidden);
  return operand_chunk(a.y, row, blocks * form_parts(a.y_form), part * blocks * (kRowBytes / 16) + column / 8);
}

// Zeros behind the last column of an operand's row.
__device__ __forceinline__ void clear_padding(const Attention& a, int64_t row, int lane) {
  const int hidden = static_cast<int>(a.heads * a.head_size), blocks = blocks_of_part(a.y_form, hidden);
  for (int part = 0; part < form_parts(a.y_form); ++part)
    for (int c = hidden + lane; c < blocks * (kRowBytes / 2); c += 32)
      reinterpret_cast<uint16_t*>(result_at(a, row, c / 8 * 8, part))[c % 8] = 0;
}

// What a warp carries over the keys: of 16 queries, lane l has queries l / 4 and l / 4 + 8, half 0 and 1.
template <int kHead>
struct Carried {
  float sums[kHead / 8][4] = {};
  float highest[2] = {-INFINITY, -INFINITY};  // of the scores, times factor the exponents' base
  float total[2] = {0, 0};                    // of this lane's keys
};

// Softmax in base 2 of scores times `factor`, joined to what is carried: element e of scores[i] is query e / 2, key
// i * 8 + lane % 4 * 2 + e % 2. weights: two float16 each, what float16 leaves in those of part 1.
template <bool kAll, int kHead, int kParts>
__device__ __forceinline__ void weigh(const float (&scores)[kKeys / 8][4], int groups, bool first, float factor,
                                      Carried<kHead>& carried, uint32_t (&weights)[kParts][kKeys / 16][4]) {
  float most[2] = {carried.highest[0], carried.highest[1]}, shift[2];
#pragma unroll
  for (int i = 0; i < kKeys / 8; ++i)
    if (is_used<kAll>(i / 2, groups))
#pragma unroll
      for (int e = 0; e < 4; ++e) most[e / 2] = fmaxf(most[e / 2], scores[i][e]);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    most[half] = fmaxf(most[half], shuffle_xor(most[half], 1));
    most[half] = fmaxf(most[half], shuffle_xor(most[half], 2));
    shift[half] = -most[half] * factor;
  }
  if (!first)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float rescale = exp2_approximate(multiply_add(carried.highest[half], factor, shift[half]));
      carried.total[half] *= rescale;
#pragma unroll
      for (int i = 0; i < kHead / 8; ++i) {
        carried.sums[i][2 * half] *= rescale;
        carried.sums[i][2 * half + 1] *= rescale;
      }
    }
#pragma unroll
  for (int half = 0; half < 2; ++half) carried.highest[half] = most[half];
#pragma unroll
  for (int i = 0; i < kKeys / 8; ++i)
    if (is_used<kAll>(i / 2, groups))
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float a = exp2_approximate(multiply_add(scores[i][2 * half], factor, shift[half]));
        const float b = exp2_approximate(multiply_add(scores[i][2 * half + 1], factor, shift[half]));
        carried.total[half] += a + b;
        const uint32_t pair = small_half_pair(a, b);
        weights[0][i / 2][i % 2 * 2 + half] = pair;
        if constexpr (kParts == 2)
          weights[1][i / 2][i % 2 * 2 + half] = small_half_pair(a - half_value(static_cast<uint16_t>(pair & 0xffff)),
                                                                b - half_value(static_cast<uint16_t>(pair >> 16)));
      }
}

// kPlain: heads are kHead wide and there is no bias.
template <int kHead, bool kSplit, bool kPlain>
__global__ void __launch_bounds__(kAttentionThreads, (kAttentionBlocks<kHead, kSplit>)) attention_kernel(
    const Attention a) {
  using Shared = Tiles<kHead, kSplit>;
  using Share = TileShare<kAttentionThreads, kHead, Shared::kStride>;
  constexpr int kStride = Shared::kStride, kParts = Shared::kParts;
  if (static_cast<int64_t>(blockIdx.x) >= *a.tile_count) return;
  const AttentionTile tile = a.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), head_size = kPlain ? kHead : static_cast<int>(a.head_size);
  const int begin = a.offsets[tile.sequence], length = a.offsets[tile.sequence + 1] - begin;
  const int hidden = static_cast<int>(a.heads) * head_size, stride = 3 * hidden;
  const int64_t at = int64_t{begin} * stride + head * head_size;
  const Shared tiles{reinterpret_cast<uint16_t*>(dynamic_shared())};
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int rows = a.first_only ? 1 : length - tile.first;  // of this tile; more than 64: all
  const bool works = warp * 16 < rows;

  const Share share(a.qkv + at, stride);
  const auto fetch = [&](uint16_t* to, int part, int which, int first) {
    if constexpr (kPlain) {
      const uint16_t* from = part == 0 ? share.from : share.from + (a.qkv_low - a.qkv);
      share.fetch(to, from + which * hidden + first * stride, stride, length - first);
    } else {
      const uint16_t* from = (part == 0 ? a.qkv : a.qkv_low) + at + which * hidden;
      fetch_tile<kAttentionThreads, kHead, kStride>(to, from, stride, first, length, head_size);
    }
  };
  const auto fetch_stage = [&](int block) {
    if (block * kKeys < length)
      for (int part = 0; part < kParts; ++part) {
        fetch(tiles.keys(block % 2, part), part, 1, block * kKeys);
        fetch(tiles.values(block % 2, part), part, 2, block * kKeys);
      }
    copy_async_commit();
  };
  for (int part = 0; part < kParts; ++part) fetch(tiles.queries(part), part, 0, tile.first);
  fetch_stage(0);

  Carried<kHead> carried;
  const float scale = kLog2E / sqrtf(static_cast<float>(head_size));
  // Of the bias, from the lane's query on.
  const int distance = static_cast<int>(a.max_distance);
  const int bias_at = head * (2 * distance - 1) + distance - 1 - (tile.first + warp * 16 + lane / 4);

  // A tile of keys; kAll: 64 of them, else `left`.
  const auto attend = [&](auto all, int block, int left) {
    constexpr bool kAll = decltype(all)::kValue;
    const int groups = (left + 15) / 16, stage = block % 2;
    const int key = lane % 4 * 2, keys_left = left - key;  // from the lane's first on
    uint32_t queries[kParts][kHead / 16][4];  // not kept from tile to tile, for other blocks' registers
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      load_queries<kHead, kStride>(queries[part], tiles.queries(part) + warp * 16 * kStride, lane);
    float scores[kKeys / 8][4] = {};
    multiply_keys<kAll, kHead, kStride>(queries[0], tiles.keys(stage, 0), lane, groups, scores);
    if constexpr (kSplit) {
      multiply_keys<kAll, kHead, kStride>(queries[0], tiles.keys(stage, 1), lane, groups, scores);
      multiply_keys<kAll, kHead, kStride>(queries[1], tiles.keys(stage, 0), lane, groups, scores);
    }
    float factor = scale;
    if (!kPlain && a.bias) {
      factor = 1;
#pragma unroll
      for (int i = 0; i < kKeys / 8; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int one = i * 8 + e % 2;
          const bool has = one < keys_left && tile.first + warp * 16 + lane / 4 + e / 2 * 8 < length;
          const float more = has ? a.bias[bias_at + block * kKeys + key + one - e / 2 * 8] : 0.0f;
          scores[i][e] = multiply_add(scores[i][e], scale, more * kLog2E);
        }
    }
    if constexpr (!kAll)
#pragma unroll
      for (int i = 0; i < kKeys / 8; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (i * 8 + e % 2 >= keys_left) scores[i][e] = -INFINITY;
    uint32_t weights[kParts][kKeys / 16][4];
    weigh<kAll>(scores, groups, block == 0, factor, carried, weights);
    multiply_values<kAll, kHead, kStride>(weights[0], tiles.values(stage, 0), lane, groups, carried.sums);
    if constexpr (kSplit) {
      multiply_values<kAll, kHead, kStride>(weights[1], tiles.values(stage, 0), lane, groups, carried.sums);
      multiply_values<kAll, kHead, kStride>(weights[0], tiles.values(stage, 1), lane, groups, carried.sums);
    }
  };
  for (int block = 0; block * kKeys < length; ++block) {
    fetch_stage(block + 1);
    copy_async_wait<1>();
    sync_block();
    if (works) {
      const int left = length - block * kKeys;
      if (left >= kKeys)
        attend(Truth<true>{}, block, left);
      else
        attend(Truth<false>{}, block, left);
    }
    sync_block();  // All are done with this stage.
  }
  copy_async_wait<0>();
  if (!works) return;

  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    carried.total[half] += shuffle_xor(carried.total[half], 1);
    carried.total[half] += shuffle_xor(carried.total[half], 2);
    inverse[half] = 1.0f / carried.total[half];
  }
  // Through shared memory, a warp's own rows of the queries, so that a thread stores 16 bytes at once.
  uint16_t* out = tiles.queries(0) + warp * 16 * kStride;
  const int first_row = (a.first_only ? tile.sequence : begin + tile.first) + warp * 16;
  const int warp_rows = rows - warp * 16;
  for (int part = 0; part < kParts; ++part) {
    sync_warp();
#pragma unroll
    for (int i = 0; i < kHead / 8; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float first = carried.sums[i][2 * half] * inverse[half];
        const float second = carried.sums[i][2 * half + 1] * inverse[half];
        *reinterpret_cast<uint32_t*>(out + (lane / 4 + half * 8) * kStride + i * 8 + lane % 4 * 2) =
            part == 0 ? bf16_pair(first, second) : low_bf16_pair(first, second);
      }
    sync_warp();
    constexpr int kChunks = kHead / 8, kRows = 32 / kChunks;
    const int row = lane / kChunks, column = lane % kChunks * 8;
    const uint16_t* from = out + row * kStride + column;
#pragma unroll
    for (int i = 0; i < 16 / kRows; ++i, from += kRows * kStride) {
      if (row + i * kRows >= warp_rows || (!kPlain && column >= head_size)) continue;
      if (kPlain || head_size % 8 == 0) {
        *reinterpret_cast<uint4*>(result_at(a, first_row + row + i * kRows, head * head_size + column, part)) =
            *reinterpret_cast<const uint4*>(from);
      } else {
        for (int c = 0; c < 8 && column + c < head_size; ++c) {
          const int to = head * head_size + column + c;
          reinterpret_cast<uint16_t*>(result_at(a, first_row + row + i * kRows, to / 8 * 8, part))[to % 8] = from[c];
        }
      }
    }
    if (part == 0 && head == 0 && 2 * hidden % kRowBytes != 0)
      for (int i = 0; i < 16 && i < warp_rows; ++i) clear_padding(a, first_row + i, lane);
  }
}

template <int kHead, bool kSplit>
void launch_attention(const Attention& a, Stream stream) {
  const Grid grid{a.most_tiles, a.heads};
  constexpr int kShared = Tiles<kHead, kSplit>::kSharedBytes;
  if (a.head_size == kHead && !a.bias)
    launch(attention_kernel<kHead, kSplit, true>, grid, kAttentionThreads, kShared, stream, a);
  else
    launch(attention_kernel<kHead, kSplit, false>, grid, kAttentionThreads, kShared, stream, a);
}

void run_attention(const Attention& a, Stream stream) {
  start_for_head_size(a.head_size, [&](auto head) {
    constexpr int kHead = decltype(head)::kHead;
    if (!a.qkv_low) return launch_attention<kHead, false>(a, stream);
    // Wider heads in two parts need more shared memory than sm_86 has, and more registers than there are.
    if constexpr (kHead <= kWidestSplitHead)
      launch_attention<kHead, true>(a, stream);
    else
      throw Error("INTERNAL", "Expected heads of at most 64 in float32 but found " + std::to_string(a.head_size));
  });
}

}  // namespace

void add_attention(KernelTable& table) {
  table.attention = run_attention;
}

}  // namespace whittle::cuda
