// The CUDA attention against kernels/ref, over ragged batches.
#include <algorithm>
#include <cmath>

#include "formats/half.h"
#include "kernels/kernel_table.h"
#include "test/cuda_devices.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Case {
  std::vector<int64_t> lengths;
  int64_t heads, head_size;
  bool with_bias;
};
const std::vector<Case> kCases = {
    {{1}, 1, 32, false},       {{3, 1, 64, 65}, 2, 32, false}, {{17, 130}, 3, 64, true},
    {{63, 2}, 1, 128, false},  {{70, 5}, 2, 16, true},         {{33, 128, 1}, 2, 20, false},
    {{129, 15}, 1, 100, true}, {{16, 150, 32}, 2, 64, false},  {{145}, 1, 128, false}};

}  // namespace

TEST(cuda_attention, ragged_batches) {
  std::mt19937_64 random = generator(1);
  const KernelTable& reference = *kernels_for(Isa::ref);
  for (GpuDevice* device : cuda_devices())
    for (const Case& one : kCases)
      for (const bool split : {false, true})
        for (const bool first_only : {false, true}) {
          if (split && one.head_size > cuda::kWidestSplitHead) continue;
          CudaBench bench(*device);
          const int64_t hidden = one.heads * one.head_size, sequences = static_cast<int64_t>(one.lengths.size());
          std::vector<int32_t> offsets = {0};
          std::vector<cuda::AttentionTile> tiles;
          int64_t longest = 0;
          for (int64_t s = 0; s < sequences; ++s) {
            const int64_t length = one.lengths[static_cast<size_t>(s)];
            longest = std::max(longest, length);
            offsets.push_back(static_cast<int32_t>(offsets.back() + length));
            for (int64_t q = 0; q < (first_only ? 1 : length); q += cuda::kAttentionQueries)
              tiles.push_back({static_cast<int32_t>(s), static_cast<int32_t>(q), 0, 0});
          }
          const int64_t tokens = offsets.back(), distance = longest + 3;
          std::vector<float> qkv = random_floats(random, tokens * 3 * hidden, 2);
          std::vector<uint16_t> high, low;
          for (float& value : qkv) {
            high.push_back(float_to_half(value));
            low.push_back(float_to_half(value - half_to_float(high.back())));
            value = half_to_float(high.back()) + (split ? half_to_float(low.back()) : 0);
          }
          const auto bias = random_floats(random, one.heads * (2 * distance - 1));
          const int64_t rows = first_only ? sequences : tokens;
          std::vector<float> expected(static_cast<size_t>(rows * hidden));
          for (int64_t s = 0; s < sequences; ++s)
            for (int64_t h = 0; h < one.heads; ++h) {
              const int64_t begin = offsets[static_cast<size_t>(s)], length = one.lengths[static_cast<size_t>(s)];
              const float* q = qkv.data() + begin * 3 * hidden + h * one.head_size;
              const ScoreBias score_bias{bias.data() + h * (2 * distance - 1) + distance - 1, -1};
              std::vector<float> scratch(static_cast<size_t>(length)), out(static_cast<size_t>(length * one.head_size));
              reference.attention(q, q + hidden, q + 2 * hidden, 3 * hidden, length, one.head_size,
                                  1 / std::sqrt(static_cast<float>(one.head_size)),
                                  one.with_bias ? &score_bias : nullptr, scratch.data(), out.data(), one.head_size,
                                  nullptr);
              for (int64_t t = 0; t < (first_only ? 1 : length); ++t)
                for (int64_t d = 0; d < one.head_size; ++d)
                  expected[static_cast<size_t>(((first_only ? s : begin + t) * hidden) + h * one.head_size + d)] =
                      out[static_cast<size_t>(t * one.head_size + d)];
            }
          cuda::Attention call{};
          call.tile_count = bench.put_one(static_cast<int32_t>(tiles.size()));
          call.most_tiles = static_cast<int64_t>(tiles.size()) + 2;
          call.tiles = bench.put(tiles);
          call.offsets = bench.put(offsets);
          call.heads = one.heads;
          call.head_size = one.head_size;
          call.qkv = bench.put(high);
          call.qkv_low = split ? bench.put(low) : nullptr;
          call.bias = one.with_bias ? bench.put(bias) : nullptr;
          call.max_distance = distance;
          call.first_only = first_only;
          call.y_form = split ? cuda::Form::split : cuda::Form::bf16;
          const int64_t part = cuda::part_blocks(call.y_form, hidden), blocks = part * cuda::form_parts(call.y_form);
          const int64_t bytes = cuda::operand_bytes(call.y_form, rows, hidden);
          uint8_t* y = bench.take<uint8_t>(bytes);
          call.y = y;
          bench.kernels().attention(call, bench.stream());
          const auto found = bench.get(y, bytes);
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < part * 64; ++c) {
              const auto element = [&](int64_t column) {
                uint16_t bits;
                std::memcpy(&bits, &found[static_cast<size_t>(cuda::operand_offset(r, 2 * column, blocks))], 2);
                return bf16_to_float(bits);
              };
              const float value = element(c) + (split ? element(c + part * 64) : 0);
              if (c < hidden)
                CHECK_NEAR(value, expected[static_cast<size_t>(r * hidden + c)], split ? 3e-5 : 6e-3);
              else
                CHECK_EQUAL(value, 0.0f);
            }
        }
}
