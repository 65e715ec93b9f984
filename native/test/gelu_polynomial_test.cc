// GELU of the int8 engine: what kernels/gelu_polynomial.h says of it, on every ISA.
#include "kernels/gelu_polynomial.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// By the epilogue, of sums that are 0, and these biases.
std::vector<float> gelu_of(const KernelTable& table, const std::vector<float>& x) {
  const std::vector<int32_t> sums(x.size());
  const std::vector<float> ones(x.size(), 1.0f);
  const int64_t n = static_cast<int64_t>(x.size());
  std::vector<float> y(x.size());
  const SumsS8 s = {sums.data(), n, ones.data(), ones.data(), nullptr, nullptr, nullptr, nullptr, 0};
  table.epilogue_s8(s, 1, n, x.data(), Activation::gelu, nullptr, 0, y.data(), n);
  return y;
}

float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Every step-th float from `from` to `to`, of the same sign.
std::vector<float> floats(float from, float to, uint32_t step) {
  uint32_t first, last;
  std::memcpy(&first, &from, sizeof first);
  std::memcpy(&last, &to, sizeof last);
  std::vector<float> x;
  for (uint64_t bits = first; bits <= last; bits += step) x.push_back(float_of(static_cast<uint32_t>(bits)));
  return x;
}

// No result is lower.
constexpr float kLowest = -0.169998f;

}  // namespace

TEST(gelu_polynomial, within_its_error_of_erf_with_the_same_bits_on_every_isa) {
  std::vector<float> x = floats(1e-9f, 40.0f, 997);
  const std::vector<float> negative = floats(-1e-9f, -40.0f, 991);
  x.insert(x.end(), negative.begin(), negative.end());
  std::vector<float> of_ref;
  double worst = 0;
  for (const KernelVariant& variant : kernel_variants()) {
    const std::vector<float> y = gelu_of(*variant.table, x);
    if (of_ref.empty()) of_ref = y;
    if (y != of_ref) WHITTLE_FAIL(variant.name << ": other bits than ref");
  }
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = 0.5 * x[i] * std::erfc(-double{x[i]} / std::sqrt(2.0)), error = std::fabs(of_ref[i] - exact);
    worst = std::max(worst, error);
    if (!(error <= kGeluError)) WHITTLE_FAIL("gelu(" << x[i] << ") is " << of_ref[i] << ", not " << exact);
    if (x[i] >= kGeluEnd) CHECK_EQUAL(of_ref[i], x[i]);
    if (x[i] <= -kGeluEnd) CHECK_EQUAL(of_ref[i], 0.0f);
    CHECK(of_ref[i] >= kLowest);
  }
  CHECK(worst > 0.98 * kGeluError);  // else the header says too much
}

TEST(gelu_polynomial, tails_of_any_size) {
  const std::vector<float> x = {0.0f,   -0.0f, 1e-45f, 1e-38f, 1e-30f, 4.0f, 100.0f,
                                1e5f, 1e10f, 3e18f,  1e19f,  1e25f,  1e38f};
  std::vector<float> negative;
  for (const float value : x) negative.push_back(-value);
  for (const KernelVariant& variant : kernel_variants()) {
    const std::vector<float> y = gelu_of(*variant.table, x), of_negative = gelu_of(*variant.table, negative);
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i] < kGeluEnd) {
        CHECK(std::fabs(y[i] - x[i] / 2) <= 1e-38f && std::fabs(of_negative[i] + x[i] / 2) <= 1e-38f);
      } else {
        CHECK_EQUAL(y[i], x[i]);
        CHECK_EQUAL(of_negative[i], 0.0f);
      }
    }
  }
}

// All floats where it is lowest: elsewhere, by the test above, it is not near it.
TEST(gelu_polynomial, nothing_is_below_what_bytes_begin_at) {
  static_assert(kLowest > -kGeluLowest);
  const KernelTable& table = *kernel_variants().back().table;
  for (float from = -0.5f; from > -1.0f; from -= 1.0f / 64) {
    const std::vector<float> y = gelu_of(table, floats(from, from - 1.0f / 64, 1));
    CHECK(*std::min_element(y.begin(), y.end()) >= kLowest);
  }
}

// The lowest result and the largest, in rows of many maxima, so that no byte is beyond its 8 bits.
TEST(gelu_polynomial, lowest_and_largest_results_are_bytes) {
  auto random = generator(40);
  for (int i = 0; i < 200000; ++i) {
    // Also maxima with which zero is the middle of two steps, or near it.
    const double halves = static_cast<double>(random() % 254) + 0.5;
    const float nearly = 1.0f + static_cast<float>(static_cast<int>(random() % 9) - 4) * 0x1p-23f;
    const double any = std::exp2(static_cast<double>(random() % 4000) / 100 - 20);
    const double largest = i % 2 == 0 ? any : std::max(0.0, kGeluLowest * 254 / halves - kGeluLowest);
    const float x[2] = {kLowest, static_cast<float>(largest) * nearly};
    const float inverse = 254.0f / (x[1] + kGeluLowest);
    const float shift = std::nearbyint(kGeluLowest * inverse) - 128.0f;
    CHECK(std::nearbyint(std::fma(x[0], inverse, shift)) >= -128);
    CHECK(std::nearbyint(std::fma(x[1], inverse, shift)) <= 127);
    if (i % 100 > 1) continue;
    for (const KernelVariant& variant : kernel_variants()) {
      std::vector<uint8_t> q(static_cast<size_t>(padded_k(2)));
      float scale;
      int32_t offset;
      variant.table->quantize_gelu_u8(x, 2, 1, 2, q.data(), padded_k(2), &scale, &offset);
      for (int c = 0; c < 2; ++c)
        CHECK_EQUAL(q[static_cast<size_t>(c)] - 128.0f, std::nearbyint(std::fma(x[c], inverse, shift)));
    }
  }
}
