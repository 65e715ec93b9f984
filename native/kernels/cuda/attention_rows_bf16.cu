// Attention with the bits of the CPU's int8 engine (kernels/ref/attention_rows_bf16.cc): products of bf16 are exact in
// float32 and every sum has the CPU's order, so the multiply-add units do them, 64 queries of one head a block.
//
// The CPU takes the maximum of a whole row before it takes exponentials, so the keys are gone over twice: for the
// maxima, and for the sums. Scores of up to kKept tiles of keys stay in registers meanwhile; others are computed again.
#include "kernels/cuda/attention_tiles.cuh"

namespace whittle::cuda {

namespace {

constexpr int kExactThreads = 256;  // 16 groups of 16: a group has 4 queries, a thread every 16th key of a tile
constexpr int kKept = 2;

// Queries, two stages of keys and values, and probabilities [64, 64], all bf16.
template <int kHead>
struct ExactTiles {
  static constexpr int kStride = kHead + 8;  // elements: rows of 16 bytes side by side lie in different banks
  static constexpr int kTile = kKeys * kStride, kWeightStride = kKeys + 8;
  static constexpr int kSharedBytes = (5 * kTile + kAttentionQueries * kWeightStride) * 2;

  uint16_t* shared;
  __device__ __forceinline__ uint16_t* queries() const { return shared; }
  __device__ __forceinline__ uint16_t* keys(int stage) const { return shared + (1 + 2 * stage) * kTile; }
  __device__ __forceinline__ uint16_t* values(int stage) const { return shared + (2 + 2 * stage) * kTile; }
  __device__ __forceinline__ uint16_t* weights() const { return shared + 5 * kTile; }
};

__device__ __forceinline__ float first_of_pair(uint32_t pair) {
  return bits_float(pair << 16);
}
__device__ __forceinline__ float second_of_pair(uint32_t pair) {
  return bits_float(pair & 0xffff0000u);
}

// 2^t for t <= 0, as the CPU's power_of_two.
__device__ __forceinline__ float power_of_two(float t) {
  t = t < -126.0f ? -126.0f : t;
  const float whole = floorf(t), f = add(t, -whole);
  float p = multiply_add(0.0780230066f, f, 0.226069391f);
  p = multiply_add(p, f, 0.695832847f);
  p = multiply_add(p, f, 0.999925245f);
  return multiply(p, bits_float(static_cast<uint32_t>(static_cast<int>(whole) + 127) << 23));
}

// What is the same for all tiles of keys.
struct ScoreRule {
  float scale;
  const float* bias;  // of distance 0, or null
  int first_query;    // of the thread's 4
  int length;
};

// Scores of 4 queries with keys first + 16 * j, j below 4; -infinity beyond the sequence. queries, keys: the thread's
// first row, rows kStride and 16 * kStride elements apart. The second product of a pair is added first.
template <int kHead, int kStride>
__device__ __forceinline__ void multiply_keys_exactly(const ScoreRule& rule, const uint16_t* queries,
                                                      const uint16_t* keys, int first, float (&scores)[4][4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) scores[i][j] = 0;
  const int groups = (rule.length - first / kKeys * kKeys + 15) / 16;  // of 16 keys; more than 4: all
#pragma unroll 2
  for (int chunk = 0; chunk < kHead / 8; ++chunk) {
    uint4 q[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) q[i] = *reinterpret_cast<const uint4*>(queries + i * kStride + chunk * 8);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j >= groups) break;
      const uint4 k = *reinterpret_cast<const uint4*>(keys + 16 * j * kStride + chunk * 8);
      const uint32_t k_pairs[4] = {k.x, k.y, k.z, k.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t q_pairs[4] = {q[i].x, q[i].y, q[i].z, q[i].w};
#pragma unroll
        for (int pair = 0; pair < 4; ++pair) {
          scores[i][j] = add_exact_product(second_of_pair(q_pairs[pair]), second_of_pair(k_pairs[pair]), scores[i][j]);
          scores[i][j] = add_exact_product(first_of_pair(q_pairs[pair]), first_of_pair(k_pairs[pair]), scores[i][j]);
        }
      }
    }
  }
#pragma unroll
  for (int j = 0; j < 4; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = first + 16 * j, query = rule.first_query + i;
      if (rule.bias && key < rule.length && query < rule.length)
        scores[i][j] = multiply_add(scores[i][j], rule.scale, rule.bias[key - query]);
      if (key >= rule.length) scores[i][j] = -INFINITY;
    }
}

// sums of 4 queries += weights [4, keys] values [keys, head]; the thread has every 16th pair of columns. The second of
// two keys is added first.
template <int kHead, int kStride, int kWeightStride>
__device__ __forceinline__ void multiply_values_exactly(const uint16_t* weights, const uint16_t* values, int keys,
                                                        float (&sums)[4][kHead / 16]) {
#pragma unroll 2
  for (int key = 0; key < keys; key += 2) {
    uint32_t p[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) p[i] = *reinterpret_cast<const uint32_t*>(weights + i * kWeightStride + key);
#pragma unroll
    for (int c = 0; c < kHead / 32; ++c) {
      const uint32_t first = *reinterpret_cast<const uint32_t*>(values + key * kStride + 32 * c);
      const uint32_t second = *reinterpret_cast<const uint32_t*>(values + (key + 1) * kStride + 32 * c);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& low = sums[i][2 * c];
        float& high = sums[i][2 * c + 1];
        low = add_exact_product(second_of_pair(p[i]), first_of_pair(second), low);
        high = add_exact_product(second_of_pair(p[i]), second_of_pair(second), high);
        low = add_exact_product(first_of_pair(p[i]), first_of_pair(first), low);
        high = add_exact_product(first_of_pair(p[i]), second_of_pair(first), high);
      }
    }
  }
}

template <int kHead>
__global__ void __launch_bounds__(kExactThreads, kHead <= 64 ? 2 : 1) attention_rows_bf16_kernel(const Attention a) {
  using Shared = ExactTiles<kHead>;
  constexpr int kStride = Shared::kStride, kWeightStride = Shared::kWeightStride;
  if (static_cast<int64_t>(blockIdx.x) >= *a.tile_count) return;
  const AttentionTile tile = a.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), head_size = static_cast<int>(a.head_size);
  const int64_t begin = a.offsets[tile.sequence];
  const int length = static_cast<int>(a.offsets[tile.sequence + 1] - begin);
  const int64_t hidden = a.heads * a.head_size, stride = 3 * hidden;
  const uint16_t* qkv = a.qkv + begin * stride + head * head_size;
  const Shared tiles{reinterpret_cast<uint16_t*>(dynamic_shared())};
  const int thread = static_cast<int>(threadIdx.x), group = thread / 16, member = thread % 16;
  const int blocks = (length + kKeys - 1) / kKeys;
  const int rows = a.first_only ? 1 : length - tile.first;  // of this tile; more than 64: all
  const bool works = thread / 32 * 8 < rows;                // the warp has such a row

  // Step s below `blocks` goes over keys for the maxima, the others over values, and over keys not kept.
  const auto fetch = [&](int step) {
    const int block = step < blocks ? step : step - blocks;
    if (step < 2 * blocks) {
      if (step < blocks || block >= kKept)
        fetch_tile<kExactThreads, kHead, kStride, 1>(tiles.keys(step % 2), qkv + hidden, stride, block * kKeys, length,
                                                  head_size);
      if (step >= blocks)
        fetch_tile<kExactThreads, kHead, kStride, 1>(tiles.values(step % 2), qkv + 2 * hidden, stride, block * kKeys,
                                                  length, head_size);
    }
    copy_async_commit();
  };
  fetch_tile<kExactThreads, kHead, kStride, 1>(tiles.queries(), qkv, stride, tile.first, length, head_size);
  fetch(0);

  const float scale = 1.0f / sqrtf(static_cast<float>(head_size));
  const float* bias = a.bias ? a.bias + head * (2 * a.max_distance - 1) + a.max_distance - 1 : nullptr;
  const float factor = bias ? kLog2E : multiply(scale, kLog2E);
  const ScoreRule rule{scale, bias, tile.first + group * 4, length};
  const uint16_t* queries = tiles.queries() + group * 4 * kStride;
  const auto score = [&](int step, int block, float (&scores)[4][4]) {
    multiply_keys_exactly<kHead, kStride>(rule, queries, tiles.keys(step % 2) + member * kStride,
                                          block * kKeys + member, scores);
  };
  // Waits for a step's tiles, with those of the next on their way.
  const auto enter = [&](int step) {
    fetch(step + 1);
    copy_async_wait<1>();
    sync_block();
  };

  float kept[kKept][4][4], highest[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
  const auto raise = [&](const float(&scores)[4][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) highest[i] = fmaxf(highest[i], scores[i][j]);
  };
#pragma unroll
  for (int block = 0; block < kKept; ++block) {
    if (block >= blocks) break;
    enter(block);
    if (works) {
      score(block, block, kept[block]);
      raise(kept[block]);
    }
    sync_block();  // All are done with this stage.
  }
  for (int block = kKept; block < blocks; ++block) {
    enter(block);
    if (works) {
      float scores[4][4];
      score(block, block, scores);
      raise(scores);
    }
    sync_block();
  }
  float shift[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int mask = 8; mask > 0; mask /= 2) highest[i] = fmaxf(highest[i], shuffle_xor(highest[i], mask));
    shift[i] = multiply(highest[i], factor);
  }

  // Of the 32 lanes in which the CPU adds exponentials, this thread has `member` and member + 16.
  float total[4][2] = {}, sums[4][kHead / 16] = {};
  uint16_t* weights = tiles.weights() + group * 4 * kWeightStride;
  const auto add_block = [&](int step, int block, const float(&scores)[4][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const bool within = block * kKeys + 16 * j + member < length;
        const float value = within ? power_of_two(multiply_add(scores[i][j], factor, -shift[i])) : 0.0f;
        total[i][j % 2] = add(total[i][j % 2], value);
        weights[i * kWeightStride + 16 * j + member] = static_cast<uint16_t>(bf16_pair(value, 0.0f));
      }
    sync_warp();
    const int keys = length - block * kKeys < kKeys ? length - block * kKeys : kKeys;
    multiply_values_exactly<kHead, kStride, kWeightStride>(weights, tiles.values(step % 2) + 2 * member, keys, sums);
    sync_warp();
  };
#pragma unroll
  for (int block = 0; block < kKept; ++block) {
    if (block >= blocks) break;
    enter(blocks + block);
    if (works) add_block(blocks + block, block, kept[block]);
    sync_block();
  }
  for (int block = kKept; block < blocks; ++block) {
    enter(blocks + block);
    if (works) {
      float scores[4][4];
      score(blocks + block, block, scores);
      add_block(blocks + block, block, scores);
    }
    sync_block();
  }
  copy_async_wait<0>();

  float* y = static_cast<float*>(a.y) + (a.first_only ? tile.sequence : begin + tile.first) * hidden + head * head_size;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float sum = add(total[i][0], total[i][1]);
#pragma unroll
    for (int mask = 8; mask > 0; mask /= 2) sum = add(sum, shuffle_xor(sum, mask));
    const float inverse = 1.0f / sum;
    const int row = group * 4 + i;
    if (row >= rows) continue;
#pragma unroll
    for (int c = 0; c < kHead / 32; ++c) {
      const int column = 2 * (member + 16 * c);
      const float first = multiply(sums[i][2 * c], inverse), second = multiply(sums[i][2 * c + 1], inverse);
      float* to = y + row * hidden + column;
      if (head_size % 2 == 0) {
        if (column < head_size) *reinterpret_cast<float2*>(to) = {first, second};
      } else {
        if (column < head_size) to[0] = first;
        if (column + 1 < head_size) to[1] = second;
      }
    }
  }
}

template <int kHead>
void launch_attention_rows_bf16(const Attention& a, Stream stream) {
  launch(attention_rows_bf16_kernel<kHead>, {a.most_tiles, a.heads}, kExactThreads, ExactTiles<kHead>::kSharedBytes,
         stream, a);
}

void run_attention_rows_bf16(const Attention& a, Stream stream) {
  if (a.head_size <= 32) return launch_attention_rows_bf16<32>(a, stream);
  if (a.head_size <= 64) return launch_attention_rows_bf16<64>(a, stream);
  if (a.head_size <= 128) return launch_attention_rows_bf16<128>(a, stream);
  throw Error("INTERNAL", "Expected heads of at most 128 but found " + std::to_string(a.head_size));
}

}  // namespace

void add_attention_rows_bf16(KernelTable& table) {
  table.attention_rows_bf16 = run_attention_rows_bf16;
}

}  // namespace whittle::cuda
