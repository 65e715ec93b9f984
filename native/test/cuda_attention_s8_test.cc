// The CUDA attention over int8 against its arithmetic written straight down and against the CPU's, bit for bit.
#include <algorithm>
#include <bit>
#include <cmath>

#include "cpu/arena.h"
#include "formats/half.h"
#include "ops/attention_bytes.h"
#include "test/cuda_devices.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// What the q, k and v of a case are like.
enum class Values { normal, zero_rows, zero_values, wide_scales, extreme };

struct Case {
  std::vector<int64_t> lengths;
  int64_t heads, head_size;
  bool with_bias = false;
  Values values = Values::normal;

  // The least that the table of biases has to reach.
  int64_t max_distance() const { return *std::max_element(lengths.begin(), lengths.end()); }
};

// Lengths around those of tiles of 16 and 64 keys and of chunks, for the head sizes that have kernels of their own and
// others. By chunk_room a chunk has, on kernels 90 and 80: for heads of 32 up to 448 and 320 keys (512 and 384 with a
// bias or for smaller heads), for 64 up to 288 and 224 (384 and 256), for 128 up to 256 and 192.
const std::vector<Case> kCases = {
    {{1}, 1, 32},
    {{2, 15, 16, 17}, 2, 64},
    {{63, 1, 64, 65}, 1, 32},
    {{127, 128, 129}, 1, 64},
    {{180, 200}, 2, 64},
    {{193, 192, 5}, 1, 64},
    {{513}, 1, 64},
    {{400}, 1, 32},
    {{64, 129, 3}, 1, 128},
    {{200, 257}, 1, 128},
    {{15, 63, 130}, 2, 8},
    {{17, 200}, 1, 20},
    {{33, 180}, 2, 48},
    {{65, 1, 193}, 1, 80},
    {{129}, 1, 100},
    {{2, 127}, 3, 7},
    {{16, 200}, 2, 64, true},
    {{130, 1}, 2, 32, true},
    {{260, 17}, 1, 128, true},
    {{66, 195}, 1, 20, true},
    {{450}, 1, 32},
    {{447, 448, 449}, 1, 32},
    {{319, 320, 321}, 1, 32},
    {{223, 224, 225}, 1, 64},
    {{287, 288, 289}, 1, 64},
    {{600}, 1, 20},
    {{600}, 1, 20, true},
    {{513}, 1, 32, true},
    {{430, 289}, 1, 64, true},
    {{1100}, 1, 32},
    {{180, 33}, 2, 64, false, Values::zero_rows},
    {{70, 200}, 1, 64, true, Values::zero_rows},
    {{100, 16}, 1, 32, false, Values::zero_values},
    {{150, 7}, 2, 64, false, Values::wide_scales},
    {{210}, 1, 48, true, Values::wide_scales},
    {{180, 140}, 1, 128, false, Values::extreme},
    {{65, 257}, 1, 64, false, Values::extreme},
};

// Quantized q, k and v with their scales, as the product's epilogue leaves them.
struct Input {
  int64_t stride;
  std::vector<int8_t> qkv;
  int64_t scale_stride;
  std::vector<float> scales;
};

Input make_input(const Case& one, int64_t tokens, std::mt19937_64& random) {
  const int64_t hidden = one.heads * one.head_size;
  Input input;
  input.stride = (3 * hidden + 15) / 16 * 16 + 16;
  input.scale_stride = tokens + 5;
  input.qkv.assign(static_cast<size_t>(tokens * input.stride), 77);
  input.scales.assign(static_cast<size_t>(3 * one.heads * input.scale_stride), NAN);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform;
  for (int64_t part = 0; part < 3; ++part)
    for (int64_t head = 0; head < one.heads; ++head)
      for (int64_t token = 0; token < tokens; ++token) {
        float scale = 0.02f + 0.03f * uniform(random), deviation = 45;
        if (one.values == Values::wide_scales) scale = std::exp2((part == 2 ? 40 : 27) * uniform(random) - 30);
        if (one.values == Values::extreme) deviation = 400;
        const bool zero = (one.values == Values::zero_rows && uniform(random) < 0.3f) ||
                          (one.values == Values::zero_values && part == 2);
        input.scales[static_cast<size_t>((part * one.heads + head) * input.scale_stride + token)] = zero ? 0 : scale;
        int8_t* row = input.qkv.data() + token * input.stride + part * hidden + head * one.head_size;
        for (int64_t c = 0; c < one.head_size; ++c) {
          const float value = std::nearbyint(deviation * normal(random));
          row[c] = static_cast<int8_t>(zero ? 0 : std::clamp(value, -127.0f, 127.0f));
        }
      }
  return input;
}

float as_half(float value) {
  return half_to_float(float_to_half(std::clamp(value, -65504.0f, 65504.0f)));
}

// kernels/byte_attention.h written straight down.
struct ExpectedRow {
  const Case& one;
  const Input& input;
  const std::vector<float>& bias;  // [heads, 2 * max_distance - 1]

  const int8_t* bytes(int64_t part, int64_t head, int64_t token) const {
    return input.qkv.data() + token * input.stride + (part * one.heads + head) * one.head_size;
  }
  float scale(int64_t part, int64_t head, int64_t token) const {
    return input.scales[static_cast<size_t>((part * one.heads + head) * input.scale_stride + token)];
  }
  static float power(float z) {
    z = std::max(z, 0.0f) * 128;
    const float r = z + 12582824.0f, f = z - (r - 12582824.0f);
    float p = std::fma(0.0551716685f, f, 0.242611125f);
    p = std::fma(p, f, 0.693260968f);
    p = std::fma(p, f, 0.999928057f);
    return std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(r) << 23));
  }

  // The result of query `query` (0 is the first) of the sequence that begins at token `begin`, into y [head_size].
  void write(int64_t begin, int64_t length, int64_t query, int64_t head, float* y) const {
    const float factor = 1.44269504088896341f * (1 / std::sqrt(static_cast<float>(one.head_size)));
    const float a = scale(0, head, begin + query) * factor;
    const int64_t distance = one.max_distance();
    float largest = 0;
    for (int64_t j = 0; j < length; ++j) largest = std::max(largest, scale(2, head, begin + j));
    const float inverse = largest == 0 ? 0.0f : 1 / largest;
    std::vector<float> x(static_cast<size_t>(length)), ratios(x.size());
    float most = -INFINITY;
    for (int64_t j = 0; j < length; ++j) {
      const size_t at = static_cast<size_t>(j);
      int32_t score = 0;
      for (int64_t c = 0; c < one.head_size; ++c)
        score += bytes(0, head, begin + query)[c] * bytes(1, head, begin + j)[c];
      const uint32_t key_scale = std::bit_cast<uint32_t>(scale(1, head, begin + j)) & ~3u;
      x[at] = static_cast<float>(score) * std::bit_cast<float>(key_scale);
      ratios[at] = scale(2, head, begin + j) * inverse;
      const int32_t bits = std::bit_cast<int32_t>(ratios[at]) - 0x3f800000;
      const float logarithm = std::max(std::ldexp(static_cast<float>(bits), -23), -8.0f);
      if (one.with_bias) {
        const float more = bias[static_cast<size_t>(head * (2 * distance - 1) + distance - 1 + j - query)];
        x[at] = std::fma(x[at], a, more * 1.44269504088896341f);
      }
      most = std::max(most, one.with_bias ? x[at] + logarithm : std::fma(x[at], a, logarithm));
    }
    const float shift = (95.9068906f - most) / 128, unit = length < 512 ? 64.0f : length < 1024 ? 32.0f : 16.0f;
    int32_t total = 0;
    std::vector<int32_t> sums(static_cast<size_t>(one.head_size));
    for (int64_t j = 0; j < length; ++j) {
      const size_t at = static_cast<size_t>(j);
      const float e = power(std::fma(x[at], (one.with_bias ? 1 : a) / 128, shift));
      total += static_cast<int32_t>(std::nearbyint(e * unit));
      const int32_t weight = std::bit_cast<int32_t>(std::fma(e, ratios[at], 12582912.0f)) & 0xff;
      for (int64_t c = 0; c < one.head_size; ++c)
        sums[static_cast<size_t>(c)] += weight * bytes(2, head, begin + j)[c];
    }
    const float f = unit / static_cast<float>(total) * largest;
    for (int64_t c = 0; c < one.head_size; ++c)
      y[c] = as_half(static_cast<float>(sums[static_cast<size_t>(c)]) * f);
  }
};

// What the CPU's engine gives, without instructions of its own.
std::vector<float> cpu_attention(const Case& one, const Input& input, const std::vector<int32_t>& offsets,
                                 const std::vector<float>& bias) {
  const int64_t hidden = one.heads * one.head_size;
  std::vector<int8_t> qkv = input.qkv;
  for (size_t at = 0; at < qkv.size(); ++at)
    if (static_cast<int64_t>(at) % input.stride < hidden)
      qkv[at] = static_cast<int8_t>(static_cast<uint8_t>(qkv[at]) ^ 0x80);
  qkv.resize(qkv.size() + kPadK);
  std::vector<float> y(static_cast<size_t>(offsets.back() * hidden));
  const float* scales = input.scales.data();
  const int64_t head_scales = one.heads * input.scale_stride;
  AttentionBytes call{};
  call.q = qkv.data();
  call.k = call.q + hidden;
  call.v = call.k + hidden;
  call.stride = input.stride;
  call.q_scales = scales;
  call.k_scales = scales + head_scales;
  call.v_scales = scales + 2 * head_scales;
  call.scale_stride = input.scale_stride;
  call.offsets = offsets.data();
  call.sequences = static_cast<int64_t>(offsets.size()) - 1;
  call.heads = one.heads;
  call.head_size = one.head_size;
  call.out = y.data();
  call.out_stride = hidden;
  call.bias = {one.with_bias ? bias.data() : nullptr, one.max_distance()};
  Arena arena;
  attention_bytes(call, {*kernels_for(Isa::ref), ThreadPool::instance(), 1, arena});
  return y;
}

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

}  // namespace

TEST(cuda_attention_s8, ragged_batches) {
  std::mt19937_64 random = generator(3);
  for (const Case& one : kCases) {
    const int64_t hidden = one.heads * one.head_size, sequences = static_cast<int64_t>(one.lengths.size());
    std::vector<int32_t> offsets = {0};
    for (const int64_t length : one.lengths) offsets.push_back(static_cast<int32_t>(offsets.back() + length));
    const int64_t tokens = offsets.back();
    const Input input = make_input(one, tokens, random);
    const auto bias = random_floats(random, one.heads * (2 * one.max_distance() - 1), 3);
    std::vector<float> expected(static_cast<size_t>(tokens * hidden));
    const ExpectedRow row{one, input, bias};
    for (int64_t s = 0; s < sequences; ++s)
      for (int64_t q = 0; q < one.lengths[static_cast<size_t>(s)]; ++q)
        for (int64_t h = 0; h < one.heads; ++h) {
          const int64_t begin = offsets[static_cast<size_t>(s)];
          row.write(begin, one.lengths[static_cast<size_t>(s)], q, h,
                    expected.data() + (begin + q) * hidden + h * one.head_size);
        }
    const std::vector<float> of_cpu = cpu_attention(one, input, offsets, bias);
    for (size_t i = 0; i < expected.size(); ++i)
      if (!same_bits(of_cpu[i], expected[i]))
        WHITTLE_FAIL("head size " << one.head_size << ", first length " << one.lengths[0] << ", element " << i
                                  << " of the CPU is " << of_cpu[i] << ", not " << expected[i]);
    for (GpuDevice* device : cuda_devices())
      for (const bool first_only : {false, true}) {
        CudaBench bench(*device);
        std::vector<cuda::AttentionTile> tiles;
        for (int64_t s = 0; s < sequences; ++s)
          for (int64_t q = 0; q < (first_only ? 1 : one.lengths[static_cast<size_t>(s)]); q += cuda::kAttentionQueries)
            tiles.push_back({static_cast<int32_t>(s), static_cast<int32_t>(q), offsets[static_cast<size_t>(s)],
                             static_cast<int32_t>(one.lengths[static_cast<size_t>(s)])});
        cuda::ByteAttention call{};
        tiles.resize(tiles.size() + 2);
        call.most_tiles = static_cast<int64_t>(tiles.size());
        call.tiles = bench.put(tiles);
        call.heads = one.heads;
        call.head_size = one.head_size;
        call.qkv = bench.put(input.qkv);
        call.stride = input.stride;
        call.scales = bench.put(input.scales);
        call.scale_stride = input.scale_stride;
        call.bias = one.with_bias ? bench.put(bias) : nullptr;
        call.max_distance = one.max_distance();
        call.first_only = first_only;
        const int64_t rows = first_only ? sequences : tokens;
        call.y = bench.take<uint16_t>(rows * hidden);
        bench.kernels().attention_s8(call, bench.stream());
        const auto found = bench.get(call.y, rows * hidden);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < hidden; ++c) {
            const int64_t token = first_only ? offsets[static_cast<size_t>(r)] : r;
            const float is = half_to_float(found[static_cast<size_t>(r * hidden + c)]);
            const float should_be = expected[static_cast<size_t>(token * hidden + c)];
            if (!same_bits(is, should_be))
              WHITTLE_FAIL("head size " << one.head_size << ", first length " << one.lengths[0] << ", bias "
                                        << one.with_bias << ", row " << r << ", column " << c << " is " << is
                                        << ", not " << should_be);
          }
      }
  }
}
