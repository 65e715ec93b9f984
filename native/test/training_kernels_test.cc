// The row-wise kernels of training on every ISA against the plain reference, which computes in double.
#include <algorithm>

#include "test/buffers.h"
#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

const int64_t kSizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 384, 1021};

const KernelTable& reference() {
  return *kernels_for(Isa::ref);
}

void check_close(float actual, double expected, double tolerance, const std::string& what) {
  if (!(std::fabs(actual - expected) <= tolerance * (1 + std::fabs(expected)))) {
    WHITTLE_FAIL(what << " is " << actual << " but expected " << expected << " within " << tolerance);
  }
}

void check_close(const float* actual, const float* expected, int64_t count, double tolerance, const std::string& what) {
  for (int64_t i = 0; i < count; ++i) {
    check_close(actual[i], expected[i], tolerance, what + ": element " + std::to_string(i));
  }
}

std::vector<uint8_t> random_bits(std::mt19937_64& random, int64_t bytes) {
  std::vector<uint8_t> bits(static_cast<size_t>(bytes));
  for (uint8_t& byte : bits) byte = static_cast<uint8_t>(random());
  return bits;
}

}  // namespace

TEST(layer_norm, forward_of_every_isa) {
  auto random = generator(41);
  for (int64_t cols : kSizes) {
    const int64_t rows = 7, x_stride = cols + 2, y_stride = cols + 3;
    auto x = random_floats(random, rows * x_stride, 2), gamma = random_floats(random, cols),
         beta = random_floats(random, cols);
    for (float& value : x) value += 3;
    Guarded<float> expected(rows, cols, y_stride), mean(1, rows, rows), rstd(1, rows, rows);
    reference().layer_norm(x.data(), x_stride, rows, cols, gamma.data(), beta.data(), 1e-5f, expected.data(), y_stride,
                           mean.data(), rstd.data());
    for (const KernelVariant& variant : kernel_variants()) {
      const std::string what = variant.name + ", " + std::to_string(cols) + " columns";
      Guarded<float> y(rows, cols, y_stride), m(1, rows, rows), s(1, rows, rows);
      variant.table->layer_norm(x.data(), x_stride, rows, cols, gamma.data(), beta.data(), 1e-5f, y.data(), y_stride,
                                m.data(), s.data());
      y.check_guards(what);
      m.check_guards(what);
      s.check_guards(what);
      // A single column has variance 0, so that rounding of the mean is magnified by 1 / sqrt(eps).
      for (int64_t r = 0; r < rows; ++r) {
        check_close(m.at(0, r), mean.at(0, r), 1e-6, what + ": mean");
        check_close(s.at(0, r), rstd.at(0, r), 1e-5, what + ": rstd");
        check_close(&y.at(r, 0), &expected.at(r, 0), cols, 1e-5, what);
      }
      variant.table->layer_norm(x.data(), x_stride, rows, cols, gamma.data(), beta.data(), 1e-5f, x.data(), x_stride,
                                nullptr, nullptr);
      for (int64_t r = 0; r < rows; ++r) check_close(&x[static_cast<size_t>(r * x_stride)], &y.at(r, 0), cols, 0, what);
      random = generator(static_cast<uint64_t>(cols));  // x was overwritten: new values for the next ISA
      x = random_floats(random, rows * x_stride, 2);
      reference().layer_norm(x.data(), x_stride, rows, cols, gamma.data(), beta.data(), 1e-5f, expected.data(),
                             y_stride, mean.data(), rstd.data());
    }
  }
}

TEST(layer_norm, backward_of_every_isa) {
  auto random = generator(42);
  for (int64_t cols : kSizes) {
    const int64_t rows = 5;
    auto x = random_floats(random, rows * cols), dy = random_floats(random, rows * cols),
         gamma = random_floats(random, cols), mean = random_floats(random, rows), rstd = random_floats(random, rows),
         start = random_floats(random, cols);
    std::vector<float> dx(x.size()), dgamma = start, dbeta = start;
    reference().layer_norm_backward(dy.data(), x.data(), gamma.data(), mean.data(), rstd.data(), rows, cols, dx.data(),
                                    dgamma.data(), dbeta.data());
    for (const KernelVariant& variant : kernel_variants()) {
      const std::string what = variant.name + ", " + std::to_string(cols) + " columns";
      Guarded<float> actual(rows, cols, cols), weight(1, cols, cols), bias(1, cols, cols);
      std::copy(start.begin(), start.end(), weight.data());
      std::copy(start.begin(), start.end(), bias.data());
      variant.table->layer_norm_backward(dy.data(), x.data(), gamma.data(), mean.data(), rstd.data(), rows, cols,
                                         actual.data(), weight.data(), bias.data());
      actual.check_guards(what);
      weight.check_guards(what);
      bias.check_guards(what);
      check_close(actual.data(), dx.data(), rows * cols, 1e-5, what + ": dx");
      check_close(weight.data(), dgamma.data(), cols, 1e-5, what + ": dgamma");
      check_close(bias.data(), dbeta.data(), cols, 1e-5, what + ": dbeta");
    }
  }
}

TEST(softmax, every_isa) {
  auto random = generator(43);
  for (int64_t cols : kSizes) {
    for (float scale : {0.1f, 3.0f, 60.0f}) {
      const int64_t rows = 3, x_stride = cols + 1, y_stride = cols + 4;
      auto x = random_floats(random, rows * x_stride, scale);
      Guarded<float> expected(rows, cols, y_stride);
      reference().softmax(x.data(), x_stride, rows, cols, expected.data(), y_stride);
      for (const KernelVariant& variant : kernel_variants()) {
        const std::string what = variant.name + ", " + std::to_string(cols) + " columns";
        Guarded<float> y(rows, cols, y_stride);
        variant.table->softmax(x.data(), x_stride, rows, cols, y.data(), y_stride);
        y.check_guards(what);
        for (int64_t r = 0; r < rows; ++r) check_close(&y.at(r, 0), &expected.at(r, 0), cols, 1e-6, what);
        auto in_place = x;
        variant.table->softmax(in_place.data(), x_stride, rows, cols, in_place.data(), x_stride);
        for (int64_t r = 0; r < rows; ++r) {
          check_close(&in_place[static_cast<size_t>(r * x_stride)], &y.at(r, 0), cols, 0, what);
        }
      }
    }
  }
}

TEST(gelu, forward_and_backward_of_every_isa) {
  auto random = generator(44);
  for (int64_t count : kSizes) {
    auto x = random_floats(random, count, 3), dy = random_floats(random, count);
    for (size_t i = 0; i < x.size() && i < 6; ++i) x[i] = std::vector<float>{0, -0.0f, 30, -30, 1e4f, -1e4f}[i];
    std::vector<float> y(x.size()), dx(x.size());
    reference().gelu(x.data(), count, y.data());
    reference().gelu_backward(x.data(), dy.data(), count, dx.data());
    for (const KernelVariant& variant : kernel_variants()) {
      const std::string what = variant.name + ", " + std::to_string(count) + " elements";
      Guarded<float> forward(1, count, count), backward(1, count, count);
      variant.table->gelu(x.data(), count, forward.data());
      variant.table->gelu_backward(x.data(), dy.data(), count, backward.data());
      forward.check_guards(what);
      backward.check_guards(what);
      check_close(forward.data(), y.data(), count, 1e-6, what);
      check_close(backward.data(), dx.data(), count, 2e-6, what + ": dx");
    }
  }
}

TEST(dropout, bits_are_the_same_on_every_isa) {
  for (int64_t count : {1, 128, 129, 1000}) {
    for (uint32_t threshold : {0u, 1u, 6554u, 32768u, 65535u}) {
      auto random = generator(45);
      const uint32_t key[2] = {static_cast<uint32_t>(random()), static_cast<uint32_t>(random())};
      const uint32_t counter[3] = {static_cast<uint32_t>(random()), static_cast<uint32_t>(random()), 7};
      const int64_t bytes = (count + 127) / 128 * 16;
      std::vector<uint8_t> expected(static_cast<size_t>(bytes));
      reference().dropout_bits(key, counter, threshold, count, expected.data());
      for (const KernelVariant& variant : kernel_variants()) {
        Guarded<uint8_t> bits(1, bytes, bytes);
        variant.table->dropout_bits(key, counter, threshold, count, bits.data());
        bits.check_guards(variant.name);
        CHECK(std::equal(expected.begin(), expected.end(), bits.data()));
      }
    }
  }
}

TEST(dropout, known_answer) {
  // Philox4x32-10 of counter {0, 0, 0, 0} and key {0, 0} begins with 0x6627e8d5 (the Random123 library's own test):
  // its lower and upper half decide elements 0 and 1.
  const uint32_t key[2] = {0, 0}, counter[3] = {0, 0, 0};
  const auto kept = [&](uint32_t threshold, int element) {
    uint8_t bits[16];
    kernels().dropout_bits(key, counter, threshold, 128, bits);
    return bits[0] >> element & 1;
  };
  CHECK_EQUAL(kept(0xe8d5, 0), 1);
  CHECK_EQUAL(kept(0xe8d6, 0), 0);
  CHECK_EQUAL(kept(0x6627, 1), 1);
  CHECK_EQUAL(kept(0x6628, 1), 0);
}

TEST(dropout, keeps_the_share_it_should) {
  const uint32_t key[2] = {1, 2}, counter[3] = {3, 4, 5};
  const int64_t count = 1 << 20;
  std::vector<uint8_t> bits(static_cast<size_t>(count / 8));
  for (double rate : {0.1, 0.5}) {
    kernels().dropout_bits(key, counter, static_cast<uint32_t>(rate * 65536 + 0.5), count, bits.data());
    int64_t kept = 0, pairs = 0;
    for (size_t i = 0; i < bits.size(); ++i) {
      kept += __builtin_popcount(bits[i]);
      pairs += __builtin_popcount(bits[i] & bits[i] >> 1 & 0x7f);  // 7 neighboring pairs a byte
    }
    // Within five standard deviations of a binomial distribution.
    const double n = static_cast<double>(count), p = 1 - rate;
    CHECK(std::fabs(static_cast<double>(kept) - n * p) < 5 * std::sqrt(n * p * rate));
    const double both = p * p, all = n / 8 * 7;
    CHECK(std::fabs(static_cast<double>(pairs) - all * both) < 5 * std::sqrt(all * both * (1 - both) * 3));
  }
}

TEST(dropout, applied_by_every_isa) {
  auto random = generator(46);
  for (int64_t cols : kSizes) {
    const int64_t rows = 3, stride = (cols + 127) / 128 * 16;
    auto x = random_floats(random, rows * cols), bias = random_floats(random, cols),
         residual = random_floats(random, rows * cols);
    const auto bits = random_bits(random, rows * stride);
    const KeepMask keep{bits.data(), stride, 1.25f};
    for (int choice = 0; choice < 4; ++choice) {
      const float* with_bias = choice & 1 ? bias.data() : nullptr;
      const float* with_residual = choice & 2 ? residual.data() : nullptr;
      std::vector<float> expected(x.size());
      reference().dropout(x.data(), rows, cols, with_bias, keep, with_residual, expected.data());
      for (const KernelVariant& variant : kernel_variants()) {
        Guarded<float> y(rows, cols, cols);
        variant.table->dropout(x.data(), rows, cols, with_bias, keep, with_residual, y.data());
        y.check_guards(variant.name);
        check_close(y.data(), expected.data(), rows * cols, 1e-6, variant.name);
      }
    }
  }
}

TEST(sums, every_isa) {
  auto random = generator(47);
  for (int64_t cols : kSizes) {
    const int64_t rows = 9, stride = cols + 3;
    auto x = random_floats(random, rows * stride), start = random_floats(random, cols);
    auto expected = start;
    reference().column_sums(x.data(), stride, rows, cols, expected.data());
    for (const KernelVariant& variant : kernel_variants()) {
      Guarded<float> sums(1, cols, cols);
      std::copy(start.begin(), start.end(), sums.data());
      variant.table->column_sums(x.data(), stride, rows, cols, sums.data());
      sums.check_guards(variant.name);
      check_close(sums.data(), expected.data(), cols, 1e-5, variant.name);
      const double squares = reference().sum_of_squares(x.data(), rows * cols);
      CHECK_NEAR(variant.table->sum_of_squares(x.data(), rows * cols), squares, 1e-5);
    }
  }
}

TEST(magnitude, every_isa) {
  auto random = generator(48);
  for (int64_t count : kSizes) {
    auto x = random_floats(random, count);
    x[0] = -0.5f;
    std::vector<uint8_t> given(x.size());
    for (uint8_t& byte : given) byte = random() % 3 == 0 ? 0 : static_cast<uint8_t>(1 + random() % 255);
    for (const KernelVariant& variant : kernel_variants()) {
      Guarded<uint8_t> mask(1, count, count);
      variant.table->magnitude_mask(x.data(), count, 0.5f, mask.data());
      mask.check_guards(variant.name);
      Guarded<float> masked(1, count, count);
      std::copy(x.begin(), x.end(), masked.data());
      variant.table->apply_mask(masked.data(), given.data(), count);
      masked.check_guards(variant.name);
      std::vector<int64_t> counts(32768, 1);
      variant.table->magnitude_histogram(x.data(), count, counts.data());
      for (float value : x) {
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        --counts[bits >> 16 & 0x7fff];
      }
      for (int64_t i = 0; i < count; ++i) {
        const size_t at = static_cast<size_t>(i);
        CHECK_EQUAL(int{mask.at(0, i)}, std::fabs(x[at]) > 0.5f ? 1 : 0);
        CHECK_EQUAL(masked.at(0, i), given[at] ? x[at] : 0.0f);
      }
      for (int64_t left : counts) CHECK_EQUAL(left, int64_t{1});
    }
  }
}

TEST(adamw, kernel_of_every_isa) {
  auto random = generator(49);
  for (int64_t count : kSizes) {
    auto p = random_floats(random, count), g = random_floats(random, count), m = random_floats(random, count, 0.1f),
         v = random_floats(random, count, 0.1f);
    for (float& value : v) value *= value;
    const auto step = [&](const KernelTable& table, float* parameter, float* first, float* second) {
      table.adamw(parameter, g.data(), first, second, count, 1e-2f, 0.9f, 0.999f, 1e-8f, 0.01f, 0.02f, 0.5f, 0.19f,
                  0.002f);
    };
    auto p0 = p, m0 = m, v0 = v;
    step(reference(), p0.data(), m0.data(), v0.data());
    for (const KernelVariant& variant : kernel_variants()) {
      Guarded<float> p1(1, count, count), m1(1, count, count), v1(1, count, count);
      std::copy(p.begin(), p.end(), p1.data());
      std::copy(m.begin(), m.end(), m1.data());
      std::copy(v.begin(), v.end(), v1.data());
      step(*variant.table, p1.data(), m1.data(), v1.data());
      p1.check_guards(variant.name);
      m1.check_guards(variant.name);
      v1.check_guards(variant.name);
      check_close(p1.data(), p0.data(), count, 1e-6, variant.name + ": parameter");
      check_close(m1.data(), m0.data(), count, 1e-6, variant.name + ": first moment");
      check_close(v1.data(), v0.data(), count, 1e-6, variant.name + ": second moment");
    }
  }
}
