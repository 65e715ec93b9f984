// Outliers of activation rows on every ISA, and the int8 linear layer that keeps them as wider integers.
#include <algorithm>

#include "ops/gemm.h"
#include "test/buffers.h"
#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// A row of normal values with `spikes` large ones.
std::vector<float> spiky_row(std::mt19937_64& random, int64_t cols, int spikes) {
  std::vector<float> x = random_floats(random, cols);
  for (int i = 0; i < spikes; ++i)
    x[random() % static_cast<size_t>(cols)] *= std::ldexp(1.0f, static_cast<int>(random() % 18));
  return x;
}

// The definition, by sorting.
std::vector<int32_t> expected_outliers(const std::vector<float>& x, int most, float* limit) {
  std::vector<float> sorted;
  for (float value : x) sorted.push_back(std::fabs(value));
  std::sort(sorted.rbegin(), sorted.rend());
  *limit = sorted[0];
  if (static_cast<int>(x.size()) <= most || sorted[0] < 1e-36f) return {};
  const float bound = std::max(sorted[static_cast<size_t>(most)], sorted[0] / 8000.0f);
  if (bound < 1e-36f || sorted[0] <= 1.5f * bound) return {};
  *limit = bound;
  std::vector<int32_t> columns;
  for (size_t c = 0; c < x.size(); ++c)
    if (std::fabs(x[c]) > bound) columns.push_back(static_cast<int32_t>(c));
  return columns;
}

}  // namespace

TEST(find_outliers, every_isa_finds_those_of_the_definition) {
  auto random = generator(31);
  for (int64_t cols : {1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 384, 1536}) {
    for (int most = 1; most <= 8; ++most) {
      for (int spikes : {0, 1, 3, 12}) {
        std::vector<float> x = spiky_row(random, cols, spikes);
        if (random() % 4 == 0) std::fill(x.begin(), x.begin() + cols / 2, x[0]);  // ties
        if (random() % 8 == 0) std::fill(x.begin() + cols / 2, x.end(), 0.0f);
        float expected_limit;
        const std::vector<int32_t> expected = expected_outliers(x, most, &expected_limit);
        for (const KernelVariant& variant : kernel_variants()) {
          Guarded<int32_t> columns(1, most, most);
          float limit;
          const int found = variant.table->find_outliers(x.data(), cols, most, &limit, columns.data());
          columns.check_guards(variant.name);
          CHECK_EQUAL(limit, expected_limit);
          CHECK_EQUAL(found, static_cast<int>(expected.size()));
          for (int i = 0; i < found; ++i) CHECK_EQUAL(columns.at(0, i), expected[static_cast<size_t>(i)]);
        }
      }
    }
  }
}

TEST(add_columns_s8, every_isa_is_exact) {
  auto random = generator(32);
  for (int64_t n : {1, 7, 8, 15, 16, 17, 63, 384, 385}) {
    const int64_t k = 11, stride = n + 3;
    const std::vector<int8_t> w = random_int8(random, k * stride);
    for (int count = 0; count <= 8; ++count) {
      std::vector<int32_t> columns, values;
      for (int j = 0; j < count; ++j) {
        columns.push_back(static_cast<int32_t>(random() % k));
        values.push_back(static_cast<int32_t>(random() % 2000000) - 1000000);
      }
      for (const KernelVariant& variant : kernel_variants()) {
        Guarded<int32_t> c(1, n, n);
        for (int64_t i = 0; i < n; ++i) c.at(0, i) = static_cast<int32_t>(i * 1000 - 7);
        variant.table->add_columns_s8(w.data(), stride, columns.data(), values.data(), count, n, c.data());
        c.check_guards(variant.name);
        for (int64_t i = 0; i < n; ++i) {
          int32_t expected = static_cast<int32_t>(i * 1000 - 7);
          for (size_t j = 0; j < columns.size(); ++j)
            expected += values[j] * w[static_cast<size_t>(columns[j] * stride + i)];
          CHECK_EQUAL(c.at(0, i), expected);
        }
      }
    }
  }
}

TEST(linear_s8, outliers_leave_the_other_activations_their_precision) {
  auto random = generator(33);
  const int64_t m = 21, n = 70, k = 200;
  const std::vector<float> w = random_floats(random, n * k);
  std::vector<float> x;
  for (int64_t r = 0; r < m; ++r) {
    const std::vector<float> row = spiky_row(random, k, static_cast<int>(r % 4));
    x.insert(x.end(), row.begin(), row.end());
  }
  std::vector<float> first;
  for (const KernelVariant& variant : kernel_variants()) {
    Arena arena;
    for (int threads : {1, 3}) {
      const Context context{*variant.table, ThreadPool::instance(), threads, arena};
      const PackedWeight weight = pack_weight(w.data(), n, k, Precision::int8, context, 3);
      Guarded<float> y(m, n, n);
      linear({x.data(), k, m, &weight, nullptr, Activation::none, nullptr, 0, y.data(), n}, context);
      y.check_guards(variant.name);
      for (int64_t r = 0; r < m; ++r) {
        // Each element is off by at most half a step of its row, whose size is that of the fourth largest magnitude.
        std::vector<float> magnitudes;
        for (int64_t c = 0; c < k; ++c) magnitudes.push_back(std::fabs(x[static_cast<size_t>(r * k + c)]));
        std::sort(magnitudes.rbegin(), magnitudes.rend());
        const double step = std::max<double>(magnitudes[3] * 1.5, magnitudes[0] / 8000.0) / 127;
        for (int64_t j = 0; j < n; ++j) {
          double exact = 0, absolute = 0;
          for (int64_t c = 0; c < k; ++c) {
            float q = 0;
            const float scale = weight.scales[static_cast<size_t>(j)];
            q = std::nearbyint(w[static_cast<size_t>(j * k + c)] / scale) * scale;
            exact += double{x[static_cast<size_t>(r * k + c)]} * q;
            absolute += std::fabs(q);
          }
          const double bound = absolute * step / 2 + std::fabs(exact) * 1e-5 + 1e-3;
          if (!(std::fabs(y.at(r, j) - exact) <= bound))
            WHITTLE_FAIL(variant.name << ": row " << r << " column " << j << " is " << y.at(r, j) << " but expected "
                                      << exact << " within " << bound);
        }
      }
      std::vector<float> all(y.data(), y.data() + m * n);
      if (first.empty()) first = all;
      for (size_t i = 0; i < all.size(); ++i) CHECK_EQUAL(all[i], first[i]);
    }
  }
}
