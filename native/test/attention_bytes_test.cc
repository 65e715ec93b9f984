// Attention in integers: its kernels on every ISA against the reference, bit for bit, the whole operation against a
// plain one, and that against attention in double from the numbers before they were rounded.
#include <algorithm>

#include "cpu/arena.h"
#include "formats/half.h"
#include "ops/attention_bytes.h"
#include "test/buffers.h"
#include "test/kernel_variants.h"

using namespace whittle;
using namespace whittle::test;

namespace {

const int64_t kLengths[] = {1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 97, 128, 200, 513};
const int64_t kHeadSizes[] = {1, 5, 8, 16, 20, 32, 48, 64, 80, 128};

// 2^(128 z - 88)
double plain_power_of_two(float z) {
  const float y = std::max(z, 0.0f) * 128, whole = std::nearbyint(y), f = y - whole;
  const float p = std::fma(std::fma(std::fma(0.0551716685f, f, 0.242611125f), f, 0.693260968f), f, 0.999928057f);
  return std::ldexp(static_cast<double>(p), static_cast<int>(whole) - 88);
}

// ratios[j] = scales[j] / the largest, and the straight lines below their logarithms.
float value_ratios(const std::vector<float>& scales, std::vector<float>& ratios, std::vector<float>& logarithms) {
  const float largest = *std::max_element(scales.begin(), scales.end());
  const float inverse = largest == 0 ? 0.0f : 1 / largest;
  for (const float scale : scales) {
    ratios.push_back(scale * inverse);
    int32_t bits;
    std::memcpy(&bits, &ratios.back(), sizeof bits);
    logarithms.push_back(std::max(std::ldexp(static_cast<float>(bits - 0x3f800000), -23), -8.0f));
  }
  return largest;
}

// To 22 bits.
float cut(float scale) {
  uint32_t bits;
  std::memcpy(&bits, &scale, sizeof bits);
  bits = bits / 4 * 4;
  std::memcpy(&scale, &bits, sizeof bits);
  return scale;
}

// Everything of the softmax of one row, as kernels/byte_attention.h and KernelTable say.
float plain_softmax(const std::vector<int32_t>& products, float row_scale, const float* key_scales,
                    const std::vector<float>& ratios, const std::vector<float>& logarithms, const float* bias,
                    std::vector<int32_t>& weights) {
  const size_t length = products.size();
  std::vector<float> x(length);
  float highest = -INFINITY;
  for (size_t j = 0; j < length; ++j) {
    const float t = static_cast<float>(products[j]) * key_scales[j];
    x[j] = bias ? std::fma(t, row_scale, bias[j] * 1.44269504088896341f) : t;
    highest = std::max(highest, bias ? x[j] + logarithms[j] : std::fma(t, row_scale, logarithms[j]));
  }
  const float shift = (95.9068906f - highest) / 128;
  const double unit = std::exp2(length < 512 ? 6 : length < 1024 ? 5 : 4);
  int32_t sum = 0;
  for (size_t j = 0; j < length; ++j) {
    const double e = plain_power_of_two(std::fma(x[j], (bias ? 1 : row_scale) / 128, shift));
    sum += static_cast<int32_t>(std::nearbyint(e * unit));
    weights[j] = static_cast<int32_t>(std::nearbyint(e * ratios[j]));  // exact in double
    if (weights[j] > 255) WHITTLE_FAIL("weight " << weights[j]);
  }
  return static_cast<float>(unit) / static_cast<float>(sum);
}

// A batch of sequences and what quantize_heads_s8 makes of it.
struct Batch {
  int64_t heads, size, tokens, stride;
  std::vector<int32_t> offsets = {0};
  std::vector<float> x, bias, scales;
  std::vector<int8_t> bytes;

  // varied: rows and heads of very different sizes, and some of zeros.
  Batch(std::mt19937_64& random, const std::vector<int64_t>& lengths, int64_t heads, int64_t size, bool varied)
      : heads(heads), size(size) {
    for (const int64_t length : lengths) offsets.push_back(offsets.back() + static_cast<int32_t>(length));
    tokens = offsets.back();
    const int64_t width = 3 * heads * size;
    x = random_floats(random, tokens * width);
    for (int64_t t = 0; t < tokens && varied; ++t)
      for (int64_t h = 0; h < 3 * heads; ++h) {
        const uint64_t draw = random() % 16;
        const float factor = draw == 0 ? 0.0f : draw == 1 ? 40.0f : draw == 2 ? 1e-6f : 1.5f;
        for (int64_t c = 0; c < size; ++c) x[static_cast<size_t>(t * width + h * size + c)] *= factor;
      }
    bias = random_floats(random, heads * (2 * max_distance() - 1));
    stride = padded_k(width + kPadK);
    bytes.resize(static_cast<size_t>(tokens * stride), int8_t{77});
    scales.resize(static_cast<size_t>(3 * heads * scale_stride()));
    const KernelTable& ref = *kernels_for(Isa::ref);
    for (int part = 0; part < 3; ++part) {
      const int64_t column = part * heads * size;
      ref.quantize_heads_s8(x.data() + column, width, tokens, heads, size, part == 0 ? 0x80 : 0, bytes.data() + column,
                            stride, scales.data() + part * heads * scale_stride(), scale_stride());
    }
  }
  int64_t max_distance() const { return 520; }
  int64_t scale_stride() const { return tokens + 3; }
  int64_t sequences() const { return static_cast<int64_t>(offsets.size()) - 1; }
  const float* scales_of(int part) const { return scales.data() + part * heads * scale_stride(); }
  float at(int part, int64_t token, int64_t head, int64_t c) const {
    return x[static_cast<size_t>(token * 3 * heads * size + (part * heads + head) * size + c)];
  }
  int32_t byte(int part, int64_t token, int64_t head, int64_t c) const {
    const int8_t value = bytes[static_cast<size_t>(token * stride + (part * heads + head) * size + c)];
    return part == 0 ? static_cast<int8_t>(static_cast<uint8_t>(value) ^ 0x80) : value;
  }
  float scale(int part, int64_t token, int64_t head) const { return scales_of(part)[head * scale_stride() + token]; }
  float bias_of(int64_t head, int64_t i, int64_t j) const {
    return bias[static_cast<size_t>(head * (2 * max_distance() - 1) + max_distance() - 1 + j - i)];
  }

  AttentionBytes call(float* out, int64_t out_stride, bool with_bias, bool first_only) const {
    const int8_t* q = bytes.data();
    const int64_t hidden = heads * size;
    const PositionBias position_bias = {with_bias ? bias.data() : nullptr, max_distance()};
    return {q,
            q + hidden,
            q + 2 * hidden,
            stride,
            scales_of(0),
            scales_of(1),
            scales_of(2),
            scale_stride(),
            offsets.data(),
            sequences(),
            heads,
            size,
            out,
            out_stride,
            position_bias,
            first_only};
  }
};

float as_half(float value) {
  return half_to_float(float_to_half(std::clamp(value, -65504.0f, 65504.0f)));
}

// [tokens, heads * size]
std::vector<float> plain_attention(const Batch& b, bool with_bias) {
  std::vector<float> out(static_cast<size_t>(b.tokens * b.heads * b.size));
  const float factor = 1.44269504088896341f * (1 / std::sqrt(static_cast<float>(b.size)));
  for (int64_t s = 0; s < b.sequences(); ++s)
    for (int64_t h = 0; h < b.heads; ++h) {
      const int64_t begin = b.offsets[static_cast<size_t>(s)];
      const size_t length = static_cast<size_t>(b.offsets[static_cast<size_t>(s) + 1] - begin);
      std::vector<float> key_scales(length), value_scales(length), bias(length), ratios, logarithms;
      for (size_t j = 0; j < length; ++j) {
        key_scales[j] = cut(b.scale(1, begin + static_cast<int64_t>(j), h));
        value_scales[j] = b.scale(2, begin + static_cast<int64_t>(j), h);
      }
      const float largest = value_ratios(value_scales, ratios, logarithms);
      std::vector<int32_t> products(length), weights(length);
      for (size_t i = 0; i < length; ++i) {
        const int64_t token = begin + static_cast<int64_t>(i);
        for (size_t j = 0; j < length; ++j) {
          products[j] = 0;
          for (int64_t c = 0; c < b.size; ++c)
            products[j] += b.byte(0, token, h, c) * b.byte(1, begin + static_cast<int64_t>(j), h, c);
          bias[j] = b.bias_of(h, static_cast<int64_t>(i), static_cast<int64_t>(j));
        }
        const float row_factor = plain_softmax(products, b.scale(0, token, h) * factor, key_scales.data(), ratios,
                                               logarithms, with_bias ? bias.data() : nullptr, weights);
        for (int64_t c = 0; c < b.size; ++c) {
          int32_t total = 0;
          for (size_t j = 0; j < length; ++j) total += weights[j] * b.byte(2, begin + static_cast<int64_t>(j), h, c);
          out[static_cast<size_t>(token * b.heads * b.size + h * b.size + c)] =
              as_half(static_cast<float>(total) * (row_factor * largest));
        }
      }
    }
  return out;
}

// From the numbers before they were rounded: [tokens, heads * size]
std::vector<double> exact_attention(const Batch& b, bool with_bias) {
  std::vector<double> out(static_cast<size_t>(b.tokens * b.heads * b.size));
  for (int64_t s = 0; s < b.sequences(); ++s)
    for (int64_t h = 0; h < b.heads; ++h) {
      const int64_t begin = b.offsets[static_cast<size_t>(s)], end = b.offsets[static_cast<size_t>(s) + 1];
      for (int64_t i = begin; i < end; ++i) {
        std::vector<double> scores;
        for (int64_t j = begin; j < end; ++j) {
          double score = 0;
          for (int64_t c = 0; c < b.size; ++c) score += double{b.at(0, i, h, c)} * b.at(1, j, h, c);
          scores.push_back(score / std::sqrt(static_cast<double>(b.size)) +
                           (with_bias ? b.bias_of(h, i - begin, j - begin) : 0.0f));
        }
        const double highest = *std::max_element(scores.begin(), scores.end());
        double sum = 0;
        for (double& score : scores) sum += score = std::exp(score - highest);
        for (int64_t j = begin; j < end; ++j)
          for (int64_t c = 0; c < b.size; ++c)
            out[static_cast<size_t>(i * b.heads * b.size + h * b.size + c)] +=
                scores[static_cast<size_t>(j - begin)] / sum * b.at(2, j, h, c);
      }
    }
  return out;
}

}  // namespace

TEST(attention_bytes, quantize_heads_of_every_isa) {
  auto random = generator(61);
  const KernelTable& ref = *kernels_for(Isa::ref);
  for (const int64_t size : kHeadSizes)
    for (const int64_t rows : {1, 2, 15, 16, 17, 33}) {
      const int64_t heads = 3, cols = heads * size, stride = cols + 5;
      std::vector<float> x = random_floats(random, rows * stride);
      for (int64_t c = 0; c < size; ++c) x[static_cast<size_t>(size + c)] = 0;            // a head of zeros
      for (int64_t c = 0; c < size; ++c) x[static_cast<size_t>(2 * size + c)] *= 1e-38f;  // one that counts as zeros
      x[0] = -x[0] * 1e6f;
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<int8_t> row(static_cast<size_t>(padded_k(size)));
        for (int64_t h = 0; h < heads; ++h) {
          float scale;
          ref.quantize_rows_s8(x.data() + r * stride + h * size, stride, 1, size, row.data(), padded_k(size), &scale);
          for (const KernelVariant& variant : kernel_variants())
            for (const uint8_t flip : {uint8_t{0}, uint8_t{0x80}}) {
              Guarded<int8_t> q(rows, cols, cols + 7);
              Guarded<float> scales(heads, rows, rows + 2);
              variant.table->quantize_heads_s8(x.data(), stride, rows, heads, size, flip, q.data(), cols + 7,
                                               scales.data(), rows + 2);
              const std::string what = variant.name + ", head size " + std::to_string(size);
              q.check_guards(what);
              scales.check_guards(what);
              CHECK_EQUAL(scales.at(h, r), scale);
              for (int64_t c = 0; c < size; ++c) {
                const uint8_t byte = static_cast<uint8_t>(row[static_cast<size_t>(c)]);
                CHECK_EQUAL(int{q.at(r, h * size + c)}, int{static_cast<int8_t>(byte ^ flip)});
              }
            }
        }
      }
    }
}

TEST(attention_bytes, softmax_of_every_isa) {
  auto random = generator(62);
  for (const int64_t length : kLengths) {
    const int64_t rows = 5, stride = length + 3;
    std::vector<int32_t> products(static_cast<size_t>(rows * stride));
    for (int32_t& product : products) product = static_cast<int32_t>(random() % 400000) - 200000;
    const std::vector<float> row_scales = {2e-3f, 1e-4f, 0, 3e-5f, 1.0f};
    std::vector<float> key_scales = random_floats(random, length), value_scales = key_scales, ratios, logarithms;
    for (float& scale : key_scales) scale = std::fabs(scale) * 0.02f;
    // Values of very different sizes, among them zeros.
    for (float& scale : value_scales) scale = std::exp(-std::fabs(scale) * 9);
    if (length % 3 == 0) value_scales[static_cast<size_t>(length / 2)] = 0;
    value_ratios(value_scales, ratios, logarithms);
    const std::vector<float> bias = random_floats(random, 2 * (length + rows));
    const ScoreBias by_distance{bias.data() + length + rows, -1};
    for (const ScoreBias* choice : {static_cast<const ScoreBias*>(nullptr), &by_distance})
      for (const KernelVariant& variant : kernel_variants()) {
        const std::string what = variant.name + ", length " + std::to_string(length) + (choice ? ", with bias" : "");
        const int64_t width = padded_k(length);
        Guarded<uint8_t> weights(rows, width, width + 64);
        Guarded<float> factors(1, rows, rows);
        std::vector<int32_t> overwritten = products;
        variant.table->softmax_u8(overwritten.data(), stride, rows, length, row_scales.data(), key_scales.data(),
                                  ratios.data(), logarithms.data(), choice, weights.data(), width + 64, factors.data());
        weights.check_guards(what);
        factors.check_guards(what);
        for (int64_t r = 0; r < rows; ++r) {
          const auto begin = products.begin() + r * stride;
          std::vector<int32_t> expected(static_cast<size_t>(length));
          const float factor =
              plain_softmax({begin, begin + length}, row_scales[static_cast<size_t>(r)], key_scales.data(), ratios,
                            logarithms, choice ? choice->data - r : nullptr, expected);
          if (factors.at(0, r) != factor)
            WHITTLE_FAIL(what << ": factor " << factors.at(0, r) << " but expected " << factor);
          for (int64_t j = 0; j < length; ++j)
            if (weights.at(r, j) != expected[static_cast<size_t>(j)])
              WHITTLE_FAIL(what << ": weight [" << r << ", " << j << "] is " << int{weights.at(r, j)}
                                << " but expected " << expected[static_cast<size_t>(j)]);
        }
      }
  }
}

// Up to kMostByteKeys, around the lengths where sums change their unit: ref against a softmax in double, every ISA
// against ref. Scales of values are all alike, or of any size, or small but for one.
TEST(attention_bytes, softmax_of_long_sequences) {
  enum class Sizes { alike, any, small_but_one };
  auto random = generator(66);
  for (const int64_t length : {511, 512, 1023, 1024, 2047, 2048, 4095, 4096, 8191})
    for (const Sizes sizes : {Sizes::alike, Sizes::any, Sizes::small_but_one}) {
      const int64_t rows = 3, width = padded_k(length), other = 17;
      const size_t keys = static_cast<size_t>(length);
      std::vector<float> value_scales(keys, sizes == Sizes::small_but_one ? 0x1p-8f : 1.0f), ratios, logarithms;
      for (size_t j = 0; j < keys && sizes == Sizes::any; ++j)
        value_scales[j] = std::exp2(-static_cast<float>(random() % 1024) / 100);
      value_scales[static_cast<size_t>(other)] = 1;
      value_ratios(value_scales, ratios, logarithms);
      // Scores all equal; any; and equal but for one far below, of the only large value where the others are small: no
      // sum is larger.
      const std::vector<float> row_scales(static_cast<size_t>(rows), 1e-4f), key_scales(keys, 1.0f);
      std::vector<int32_t> products(static_cast<size_t>(rows * length), 70000);
      for (size_t j = 0; j < keys; ++j) products[keys + j] = static_cast<int32_t>(random() % 160000) - 80000;
      products[static_cast<size_t>(2 * length + other)] = -200000;
      const auto run = [&](const KernelTable& table, Guarded<uint8_t>& weights, Guarded<float>& factors) {
        std::vector<int32_t> overwritten = products;
        table.softmax_u8(overwritten.data(), length, rows, length, row_scales.data(), key_scales.data(), ratios.data(),
                         logarithms.data(), nullptr, weights.data(), width + 64, factors.data());
      };
      const std::string shape =
          "length " + std::to_string(length) + ", sizes " + std::to_string(static_cast<int>(sizes));
      Guarded<uint8_t> weights_of_ref(rows, width, width + 64);
      Guarded<float> factors_of_ref(1, rows, rows);
      run(*kernels_for(Isa::ref), weights_of_ref, factors_of_ref);
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<double> e;
        double highest = -INFINITY, sum = 0;
        for (size_t j = 0; j < keys; ++j) {
          e.push_back(double{row_scales[0]} * products[static_cast<size_t>(r) * keys + j]);
          highest = std::max(highest, e[j] + logarithms[j]);
        }
        for (double& each : e) sum += each = 240 * std::exp2(each - highest);
        // Powers are off by 7.5e-5 and what float32 leaves of their exponents. Each is then rounded: for the sum to a
        // unit of 2^-6 up to 511 keys, twice that for each doubling, and for the weight to 1.
        constexpr double kOff = 1e-4;
        const double unit = std::exp2(std::max(8.0, std::floor(std::log2(static_cast<double>(length)))) - 14);
        const double found = 1 / double{factors_of_ref.at(0, r)};
        if (!(std::fabs(found - sum) <= kOff * sum + unit / 2 * static_cast<double>(length)))
          WHITTLE_FAIL(shape << ", row " << r << ": sum " << found << " but expected " << sum);
        for (int64_t j = 0; j < length; ++j) {
          const double weight = e[static_cast<size_t>(j)] * ratios[static_cast<size_t>(j)];
          if (!(std::fabs(weights_of_ref.at(r, j) - weight) <= 0.5 + kOff * weight))
            WHITTLE_FAIL(shape << ": weight [" << r << ", " << j << "] is " << int{weights_of_ref.at(r, j)}
                               << " but expected " << weight);
        }
      }
      for (const KernelVariant& variant : kernel_variants()) {
        const std::string what = variant.name + ", " + shape;
        Guarded<uint8_t> weights(rows, width, width + 64);
        Guarded<float> factors(1, rows, rows);
        run(*variant.table, weights, factors);
        weights.check_guards(what);
        factors.check_guards(what);
        for (int64_t r = 0; r < rows; ++r) {
          CHECK_EQUAL(factors.at(0, r), factors_of_ref.at(0, r));
          if (std::memcmp(&weights.at(r, 0), &weights_of_ref.at(r, 0), keys) != 0)
            WHITTLE_FAIL(what << ": row " << r << " has other weights than ref");
        }
      }
    }
}

// Among them ties, halves that are not normal, and what float16 cannot hold.
TEST(attention_bytes, scaled_sums_of_every_isa) {
  auto random = generator(65);
  for (const int64_t cols : kHeadSizes) {
    const int64_t rows = 5, stride = cols + 3;
    std::vector<int32_t> sums(static_cast<size_t>(rows * stride));
    for (int32_t& sum : sums) sum = static_cast<int32_t>(random() % 8192) - 4096;
    sums[0] = 0, sums[1] = 1 << 27;
    const std::vector<float> factors = {3e-3f, 0x1p-26f, 0, 1.0f, 100.0f};
    for (const KernelVariant& variant : kernel_variants()) {
      Guarded<float> y(rows, cols, cols + 7);
      variant.table->scale_sums_f16(sums.data(), stride, rows, cols, factors.data(), y.data(), cols + 7);
      y.check_guards(variant.name);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < cols; ++c)
          CHECK_EQUAL(y.at(r, c), as_half(static_cast<float>(sums[static_cast<size_t>(r * stride + c)]) *
                                          factors[static_cast<size_t>(r)]));
    }
  }
}

TEST(attention_bytes, every_isa_gives_the_bits_of_plain_sums) {
  auto random = generator(63);
  const std::vector<int64_t> many = {1, 17, 2, 64, 33, 16, 3};
  std::vector<std::pair<std::vector<int64_t>, int64_t>> shapes;
  for (const int64_t size : kHeadSizes) shapes.push_back({many, size});
  for (const int64_t length : kLengths) shapes.push_back({{length}, 32});
  // On AMX tiles multiply heads of 64 and more of long sequences.
  shapes.push_back({{130, 65, 96, 95, 513}, 64});
  shapes.push_back({{128, 97}, 80});
  shapes.push_back({{200}, 128});
  for (const auto& [lengths, size] : shapes) {
    const Batch batch(random, lengths, 2, size, true);
    const int64_t hidden = batch.heads * batch.size;
    for (const bool with_bias : {false, true}) {
      const std::vector<float> expected = plain_attention(batch, with_bias);
      for (const KernelVariant& variant : kernel_variants())
        for (const int threads : {1, 3}) {
          Arena arena;
          const Context context{*variant.table, ThreadPool::instance(), threads, arena};
          const std::string what = variant.name + ", head size " + std::to_string(size) + ", " +
                                   std::to_string(lengths[0]) + " tokens first" + (with_bias ? ", with bias" : "");
          Guarded<float> out(batch.tokens, hidden, hidden + 3), first(batch.tokens, hidden, hidden + 3);
          attention_bytes(batch.call(out.data(), hidden + 3, with_bias, false), context);
          out.check_guards(what);
          for (int64_t t = 0; t < batch.tokens; ++t)
            for (int64_t c = 0; c < hidden; ++c)
              if (out.at(t, c) != expected[static_cast<size_t>(t * hidden + c)])
                WHITTLE_FAIL(what << ": [" << t << ", " << c << "] is " << out.at(t, c) << " but expected "
                                  << expected[static_cast<size_t>(t * hidden + c)]);
          attention_bytes(batch.call(first.data(), hidden + 3, with_bias, true), context);
          for (int64_t s = 0; s < batch.sequences(); ++s)
            for (int64_t c = 0; c < hidden; ++c) {
              const int64_t token = batch.offsets[static_cast<size_t>(s)];
              CHECK_EQUAL(first.at(token, c), out.at(token, c));
            }
        }
    }
  }
}

// Rounding q, k, v and the weights to a byte each costs about a hundredth of the largest value.
TEST(attention_bytes, is_close_to_attention_before_rounding) {
  auto random = generator(64);
  for (const int64_t size : {32, 64}) {
    const Batch batch(random, {50, 128}, 4, size, false);
    for (const bool with_bias : {false, true}) {
      const std::vector<float> rounded = plain_attention(batch, with_bias);
      const std::vector<double> exact = exact_attention(batch, with_bias);
      double difference = 0, squares = 0;
      for (size_t i = 0; i < rounded.size(); ++i) {
        difference += (rounded[i] - exact[i]) * (rounded[i] - exact[i]);
        squares += exact[i] * exact[i];
      }
      if (!(std::sqrt(difference / squares) < 0.02))
        WHITTLE_FAIL("relative root mean square error " << std::sqrt(difference / squares));
    }
  }
}
