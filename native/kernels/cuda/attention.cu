// Attention over a ragged batch in one pass over the keys (Dao et al. 2022, FlashAttention): blocks of 64 queries of
// one head against blocks of 64 keys, with the maximum and the sum of the softmax carried along.
#include "kernels/cuda/attention_tiles.cuh"

namespace whittle::cuda {

namespace {

constexpr int kAttentionThreads = 128;  // a warp has 16 queries

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

// scores [16, 64] = queries keys^T
template <int kHead, int kStride>
__device__ __forceinline__ void multiply_keys(const uint32_t (&queries)[kHead / 16][4], const uint16_t* keys, int lane,
                                              float (&scores)[kKeys / 8][4]) {
  const int matrix = lane / 8, row = matrix / 2 * 8 + lane % 8, column = matrix % 2 * 8;
#pragma unroll
  for (int step = 0; step < kHead / 16; ++step)
#pragma unroll
    for (int pair = 0; pair < kKeys / 16; ++pair) {
      uint32_t k[4];
      load_matrix(k, keys + (pair * 16 + row) * kStride + step * 16 + column);
      mma_half(scores[2 * pair], queries[step], k[0], k[1]);
      mma_half(scores[2 * pair + 1], queries[step], k[2], k[3]);
    }
}

// sums [16, head] += weights [16, 64] values
template <int kHead, int kStride>
__device__ __forceinline__ void multiply_values(const uint32_t (&weights)[kKeys / 16][4], const uint16_t* values,
                                                int lane, float (&sums)[kHead / 8][4]) {
  const int matrix = lane / 8, row = matrix % 2 * 8 + lane % 8, column = matrix / 2 * 8;
#pragma unroll
  for (int step = 0; step < kKeys / 16; ++step)
#pragma unroll
    for (int pair = 0; pair < kHead / 16; ++pair) {
      uint32_t v[4];
      load_matrix_transposed(v, values + (step * 16 + row) * kStride + pair * 16 + column);
      mma_half(sums[2 * pair], weights[step], v[0], v[1]);
      mma_half(sums[2 * pair + 1], weights[step], v[2], v[3]);
    }
}

template <int kHead, int kStride>
__device__ __forceinline__ void load_queries(uint32_t (&queries)[kHead / 16][4], const uint16_t* tile, int lane) {
  const int matrix = lane / 8;
#pragma unroll
  for (int step = 0; step < kHead / 16; ++step)
    load_matrix(queries[step], tile + (matrix % 2 * 8 + lane % 8) * kStride + step * 16 + matrix / 2 * 8);
}

// Columns of the result of one row, in the form that is asked for. `part` 1: what the first left.
__device__ __forceinline__ void store_result(const Attention& a, int64_t row, int64_t column, int part, uint16_t bits) {
  const int64_t hidden = a.heads * a.head_size;
  if (a.format == Format::f16) {
    static_cast<uint16_t*>(a.y)[row * hidden + column] = bits;
    return;
  }
  const int64_t blocks = part_blocks(a.y_form, hidden);
  *reinterpret_cast<uint16_t*>(static_cast<uint8_t*>(a.y) + operand_offset(row, 2 * column + part * blocks * kRowBytes,
                                                                           blocks * form_parts(a.y_form))) = bits;
}
__device__ __forceinline__ void store_results(const Attention& a, int64_t row, int64_t column, int part,
                                              const uint4& eight) {
  const int64_t hidden = a.heads * a.head_size;
  if (a.format == Format::f16) {
    *reinterpret_cast<uint4*>(static_cast<uint16_t*>(a.y) + row * hidden + column) = eight;
    return;
  }
  const int64_t blocks = part_blocks(a.y_form, hidden);
  *reinterpret_cast<uint4*>(static_cast<uint8_t*>(a.y) + operand_offset(row, 2 * column + part * blocks * kRowBytes,
                                                                        blocks * form_parts(a.y_form))) = eight;
}

// Zeros behind the last column of an operand.
__device__ __forceinline__ void clear_padding(const Attention& a, int64_t row, int lane) {
  const int64_t hidden = a.heads * a.head_size, end = part_blocks(a.y_form, hidden) * (kRowBytes / 2);
  for (int part = 0; part < form_parts(a.y_form); ++part)
    for (int64_t c = hidden + lane; c < end; c += 32) store_result(a, row, c, part, 0);
}

template <int kHead, bool kSplit>
__global__ void __launch_bounds__(kAttentionThreads, 2) attention_kernel(const Attention a) {
  using Shared = Tiles<kHead, kSplit>;
  constexpr int kStride = Shared::kStride, kParts = Shared::kParts;
  if (static_cast<int64_t>(blockIdx.x) >= *a.tile_count) return;
  const AttentionTile tile = a.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), head_size = static_cast<int>(a.head_size);
  const int64_t begin = a.offsets[tile.sequence];
  const int length = static_cast<int>(a.offsets[tile.sequence + 1] - begin);
  const int64_t hidden = a.heads * a.head_size, stride = 3 * hidden;
  const int64_t at = begin * stride + head * head_size;
  const Shared tiles{reinterpret_cast<uint16_t*>(dynamic_shared())};
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;

  const auto fetch = [&](uint16_t* to, int part, int64_t which, int first) {
    const uint16_t* from = (part == 0 ? a.qkv : a.qkv_low) + at + which * hidden;
    fetch_tile<kAttentionThreads, kHead, kStride, 4>(to, from, stride, first, length, head_size);
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

  float sums[kHead / 8][4], highest[2] = {-1e30f, -1e30f}, total[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < kHead / 8; ++i)
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[i][e] = 0;
  uint32_t queries[kParts][kHead / 16][4];
  const float scale = kLog2E / sqrtf(static_cast<float>(head_size));
  const int query = tile.first + warp * 16 + lane / 4;  // and 8 more
  const float* bias = a.bias ? a.bias + head * (2 * a.max_distance - 1) + a.max_distance - 1 : nullptr;

  for (int block = 0; block * kKeys < length; ++block) {
    fetch_stage(block + 1);
    copy_async_wait<1>();
    sync_block();
    if (block == 0)
#pragma unroll
      for (int part = 0; part < kParts; ++part)
        load_queries<kHead, kStride>(queries[part], tiles.queries(part) + warp * 16 * kStride, lane);

    float scores[kKeys / 8][4];
#pragma unroll
    for (int i = 0; i < kKeys / 8; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) scores[i][e] = 0;
    multiply_keys<kHead, kStride>(queries[0], tiles.keys(block % 2, 0), lane, scores);
    if constexpr (kSplit) {
      multiply_keys<kHead, kStride>(queries[0], tiles.keys(block % 2, 1), lane, scores);
      multiply_keys<kHead, kStride>(queries[1], tiles.keys(block % 2, 0), lane, scores);
    }

    // Softmax in base 2. Element e of scores[i]: query + e / 2 * 8, key i * 8 + lane % 4 * 2 + e % 2.
    float most[2] = {highest[0], highest[1]};
#pragma unroll
    for (int i = 0; i < kKeys / 8; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int key = block * kKeys + i * 8 + lane % 4 * 2 + e % 2, row = query + e / 2 * 8;
        float score = scores[i][e] * scale;
        if (bias && key < length && row < length) score += bias[key - row] * kLog2E;
        scores[i][e] = key < length ? score : -INFINITY;
        most[e / 2] = fmaxf(most[e / 2], scores[i][e]);
      }
    float rescale[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      most[half] = fmaxf(most[half], shuffle_xor(most[half], 1));
      most[half] = fmaxf(most[half], shuffle_xor(most[half], 2));
      rescale[half] = exp2_approximate(highest[half] - most[half]);
      highest[half] = most[half];
      total[half] *= rescale[half];
    }
#pragma unroll
    for (int i = 0; i < kHead / 8; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[i][e] *= rescale[e / 2];

    uint32_t weights[kParts][kKeys / 16][4];
#pragma unroll
    for (int i = 0; i < kKeys / 8; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float first = exp2_approximate(scores[i][2 * half] - highest[half]);
        const float second = exp2_approximate(scores[i][2 * half + 1] - highest[half]);
        total[half] += first + second;
        const uint32_t pair = half_pair(first, second);
        weights[0][i / 2][i % 2 * 2 + half] = pair;
        if constexpr (kSplit)
          weights[1][i / 2][i % 2 * 2 + half] = half_pair(first - half_value(static_cast<uint16_t>(pair & 0xffff)),
                                                          second - half_value(static_cast<uint16_t>(pair >> 16)));
      }
    multiply_values<kHead, kStride>(weights[0], tiles.values(block % 2, 0), lane, sums);
    if constexpr (kSplit) {
      multiply_values<kHead, kStride>(weights[1], tiles.values(block % 2, 0), lane, sums);
      multiply_values<kHead, kStride>(weights[0], tiles.values(block % 2, 1), lane, sums);
    }
    sync_block();  // All are done with this stage.
  }
  copy_async_wait<0>();

  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    total[half] += shuffle_xor(total[half], 1);
    total[half] += shuffle_xor(total[half], 2);
    inverse[half] = 1.0f / total[half];
  }
  // Through shared memory, a warp's own rows of the queries, so that a thread stores 16 bytes at once.
  const bool as_half = a.format == Format::f16;
  for (int part = 0; part < (a.format == Format::operand && a.y_form == Form::split ? 2 : 1); ++part) {
    uint16_t* out = tiles.queries(0) + warp * 16 * kStride;
    sync_warp();
#pragma unroll
    for (int i = 0; i < kHead / 8; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float first = sums[i][2 * half] * inverse[half], second = sums[i][2 * half + 1] * inverse[half];
        uint32_t pair = as_half ? half_pair(first, second) : bf16_pair(first, second);
        if (part == 1)
          pair = bf16_pair(first - bf16_value(static_cast<uint16_t>(pair & 0xffff)),
                           second - bf16_value(static_cast<uint16_t>(pair >> 16)));
        *reinterpret_cast<uint32_t*>(out + (lane / 4 + half * 8) * kStride + i * 8 + lane % 4 * 2) = pair;
      }
    sync_warp();
    const int rows = a.first_only ? 1 : length - tile.first;
    const int64_t first_row = a.first_only ? tile.sequence : begin + tile.first;
    constexpr int kChunks = kHead / 8;
    for (int i = lane; i < 16 * kChunks; i += 32) {
      const int row = warp * 16 + i / kChunks, column = i % kChunks * 8;
      if (row >= rows || column >= head_size) continue;
      const uint16_t* from = out + i / kChunks * kStride + column;
      if (head_size % 8 == 0)
        store_results(a, first_row + row, head * head_size + column, part, *reinterpret_cast<const uint4*>(from));
      else
        for (int c = 0; c < 8 && column + c < head_size; ++c)
          store_result(a, first_row + row, head * head_size + column + c, part, from[c]);
    }
    if (a.format == Format::operand && part == 0 && head == 0 && 2 * hidden % kRowBytes != 0)
      for (int row = warp * 16; row < warp * 16 + 16 && row < rows; ++row) clear_padding(a, first_row + row, lane);
  }
}

template <int kHead>
void launch_attention(const Attention& a, Stream stream) {
  const Grid grid{a.most_tiles, a.heads};
  if (!a.qkv_low) {
    launch(attention_kernel<kHead, false>, grid, kAttentionThreads, Tiles<kHead, false>::kSharedBytes, stream, a);
    return;
  }
  // Wider heads in two parts need more shared memory than sm_86 has, and more registers than there are.
  if constexpr (kHead <= kWidestSplitHead)
    launch(attention_kernel<kHead, true>, grid, kAttentionThreads, Tiles<kHead, true>::kSharedBytes, stream, a);
  else
    throw Error("INTERNAL", "Expected heads of at most 64 in float32 but found " + std::to_string(a.head_size));
}

void run_attention(const Attention& a, Stream stream) {
  if (a.head_size <= 32) return launch_attention<32>(a, stream);
  if (a.head_size <= 64) return launch_attention<64>(a, stream);
  if (a.head_size <= 128) return launch_attention<128>(a, stream);
  throw Error("INTERNAL", "Expected heads of at most 128 but found " + std::to_string(a.head_size));
}

}  // namespace

void add_attention(KernelTable& table) {
  table.attention = run_attention;
}

}  // namespace whittle::cuda
