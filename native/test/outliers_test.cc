// Activations as bytes on every ISA: their zero points and outliers, and the int8 linear layer that keeps outliers as
// wider integers.
#include <algorithm>
#include <cmath>
#include <limits>

#include "formats/half.h"
#include "kernels/ref/float16.h"
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
  for (float& value : x) value = std::clamp(value, -1e30f, 1e30f);
  return x;
}

// The definition, by sorting.
std::vector<int32_t> expected_outliers(const std::vector<float>& x, int most, float* limit) {
  std::vector<float> sorted;
  for (float value : x) sorted.push_back(std::fabs(value));
  std::sort(sorted.rbegin(), sorted.rend());
  *limit = sorted[0];
  if (most == 0 || static_cast<int>(x.size()) <= most || sorted[0] < 1e-36f) return {};
  const float bound = std::max(sorted[static_cast<size_t>(most)], sorted[0] / 256.0f);
  if (bound < 1e-36f || sorted[0] <= 1.5f * bound) return {};
  *limit = bound;
  std::vector<int32_t> columns;
  for (size_t c = 0; c < x.size(); ++c)
    if (std::fabs(x[c]) > bound) columns.push_back(static_cast<int32_t>(c));
  return columns;
}

}  // namespace

TEST(quantize_rows_u8, every_isa_gives_the_bytes_and_outliers_of_the_definition) {
  auto random = generator(31);
  for (int64_t cols : {1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 384, 1536}) {
    for (int most = 0; most <= kMostOutliers; ++most) {
      for (int spikes : {0, 1, 3, 12}) {
        const int64_t rows = 2, stride = cols + 3;
        std::vector<float> x;
        for (int64_t r = 0; r < rows; ++r) {
          std::vector<float> row = spiky_row(random, cols, spikes);
          if (random() % 4 == 0) std::fill(row.begin(), row.begin() + cols / 2, row[0]);  // ties
          if (random() % 8 == 0) std::fill(row.begin() + cols / 2, row.end(), 0.0f);
          row.resize(static_cast<size_t>(stride), NAN);
          x.insert(x.end(), row.begin(), row.end());
        }
        for (const KernelVariant& variant : kernel_variants()) {
          Guarded<uint8_t> q(rows, padded_k(cols), padded_k(cols) + 64);
          Guarded<float> scales(1, rows, rows);
          std::vector<RowOutliers> outliers(static_cast<size_t>(rows));
          variant.table->quantize_rows_u8(x.data(), stride, rows, cols, most, q.data(), padded_k(cols) + 64,
                                          scales.data(), outliers.data());
          q.check_guards(variant.name);
          scales.check_guards(variant.name);
          for (int64_t r = 0; r < rows; ++r) {
            const std::vector<float> row(x.begin() + r * stride, x.begin() + r * stride + cols);
            float limit;
            const std::vector<int32_t> expected = expected_outliers(row, most, &limit);
            CHECK_EQUAL(scales.at(0, r), limit < 1e-36f ? 0.0f : limit / 127.0f);
            const RowOutliers& found = outliers[static_cast<size_t>(r)];
            if (most > 0) CHECK_EQUAL(found.count, static_cast<int32_t>(expected.size()));
            const float inverse = limit < 1e-36f ? 0.0f : 127.0f / limit;
            for (int64_t c = 0, next = 0; c < cols; ++c) {
              const int32_t whole = static_cast<int32_t>(std::nearbyint(row[static_cast<size_t>(c)] * inverse));
              int32_t value = int{q.at(r, c)} - 128;
              if (next < static_cast<int64_t>(expected.size()) && expected[static_cast<size_t>(next)] == c) {
                CHECK_EQUAL(found.columns[next], static_cast<int32_t>(c));
                CHECK(std::abs(found.values[next]) < 1 << 15);
                value += found.values[next++];
              }
              if (value != whole)
                WHITTLE_FAIL(variant.name << ": column " << c << " of " << cols << " is " << value << " but expected "
                                          << whole << ", most " << most);
            }
            for (int64_t c = cols; c < padded_k(cols); ++c) CHECK_EQUAL(int{q.at(r, c)}, 128);
          }
        }
      }
    }
  }
}

TEST(quantize_gelu_u8, every_isa_gives_the_bytes_of_the_definition) {
  auto random = generator(34);
  for (int64_t cols : {1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 384, 1536}) {
    for (float size : {0.0f, 1e-3f, 1.0f, 40.0f, 1e5f}) {
      const int64_t rows = 2, stride = cols + 1;
      std::vector<float> x = random_floats(random, rows * stride, size);
      for (float& value : x) value = std::max(value, -0.1699f);
      for (const KernelVariant& variant : kernel_variants()) {
        Guarded<uint8_t> q(rows, padded_k(cols), padded_k(cols) + 64);
        Guarded<float> scales(1, rows, rows);
        Guarded<int32_t> offsets(1, rows, rows);
        variant.table->quantize_gelu_u8(x.data(), stride, rows, cols, q.data(), padded_k(cols) + 64, scales.data(),
                                        offsets.data());
        q.check_guards(variant.name);
        scales.check_guards(variant.name);
        offsets.check_guards(variant.name);
        for (int64_t r = 0; r < rows; ++r) {
          float largest = 0;
          for (int64_t c = 0; c < cols; ++c) largest = std::max(largest, x[static_cast<size_t>(r * stride + c)]);
          const float range = largest + kGeluLowest, inverse = 254.0f / range;
          const int zero = static_cast<int>(std::nearbyint(kGeluLowest * inverse));
          CHECK_EQUAL(scales.at(0, r), range / 254.0f);
          CHECK_EQUAL(offsets.at(0, r), 128 - zero);
          for (int64_t c = 0; c < cols; ++c) {
            const float value = std::fma(x[static_cast<size_t>(r * stride + c)], inverse, static_cast<float>(zero - 128));
            const int whole = static_cast<int>(std::nearbyint(value)) + 128;
            CHECK(whole >= 0 && whole <= 255);
            CHECK_EQUAL(int{q.at(r, c)}, whole);
          }
          for (int64_t c = cols; c < padded_k(cols); ++c) CHECK_EQUAL(int{q.at(r, c)}, 128);
        }
      }
    }
  }
}

TEST(layer_norm_u8, every_isa_gives_the_same_bits) {
  auto random = generator(35);
  for (int64_t cols : {1, 15, 17, 64, 65, 384, 768}) {
    const int64_t rows = 7;
    // One row whose largest float16 cannot hold, and one of numbers so small that float16's are denormal.
    std::vector<float> x = random_floats(random, rows * cols, 3);
    for (int64_t c = 0; c < cols; ++c) {
      x[static_cast<size_t>(cols + c)] *= 5e4f;
      x[static_cast<size_t>(2 * cols + c)] *= 1e-6f;
    }
    const std::vector<float> gamma = spiky_row(random, cols, 2), beta = random_floats(random, cols);
    std::vector<float> rounded;
    for (const float value : x) rounded.push_back(ref::round_to_f16(value));
    for (int most : {0, 2}) {
      std::vector<float> expected(static_cast<size_t>(rows * cols));
      kernels_for(Isa::ref)->layer_norm(rounded.data(), cols, rows, cols, gamma.data(), beta.data(), 1e-5f,
                                        expected.data(), cols, nullptr, nullptr);
      std::vector<float> first;
      for (const KernelVariant& variant : kernel_variants()) {
        const KernelTable& table = *variant.table;
        Guarded<float> y(rows, cols, cols);
        Guarded<uint8_t> q(rows, padded_k(cols), padded_k(cols)), wanted_q(rows, padded_k(cols), padded_k(cols));
        std::vector<float> scales(rows), wanted_scales(rows);
        std::vector<RowOutliers> outliers(rows), wanted(rows);
        table.layer_norm_u8(x.data(), cols, rows, cols, gamma.data(), beta.data(), 1e-5f, y.data(), cols, most,
                            q.data(), padded_k(cols), scales.data(), outliers.data());
        y.check_guards(variant.name);
        q.check_guards(variant.name);
        const std::vector<float> result(y.data(), y.data() + rows * cols);
        if (first.empty()) first = result;
        if (result != first) WHITTLE_FAIL(variant.name << ": other bits than ref, columns " << cols);
        for (size_t i = 0; i < expected.size(); ++i)
          CHECK_NEAR(result[i], expected[i], 2e-6 * (std::fabs(expected[i]) + std::fabs(gamma[i % gamma.size()]) * 30));
        table.quantize_rows_u8(result.data(), cols, rows, cols, most, wanted_q.data(), padded_k(cols),
                               wanted_scales.data(), wanted.data());
        CHECK(scales == wanted_scales);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < padded_k(cols); ++c) CHECK_EQUAL(int{q.at(r, c)}, int{wanted_q.at(r, c)});
          if (most == 0) continue;
          const RowOutliers& found = outliers[static_cast<size_t>(r)];
          CHECK_EQUAL(found.count, wanted[static_cast<size_t>(r)].count);
          for (int i = 0; i < found.count; ++i) {
            CHECK_EQUAL(found.columns[i], wanted[static_cast<size_t>(r)].columns[i]);
            CHECK_EQUAL(found.values[i], wanted[static_cast<size_t>(r)].values[i]);
          }
        }
      }
    }
  }
}

// A NaN stays one, infinities become the largest numbers.
TEST(layer_norm_u8, rounds_what_is_not_finite) {
  auto random = generator(36);
  for (int64_t cols : {5, 16, 33, 70}) {
    const int64_t rows = 6;
    std::vector<float> x = random_floats(random, rows * cols);
    const std::vector<float> gamma = random_floats(random, cols), beta = random_floats(random, cols);
    x[static_cast<size_t>(cols - 1)] = std::nanf("");
    x[static_cast<size_t>(5 * cols)] = -std::nanf("");
    std::vector<float> finite = x;
    for (const float sign : {-1.0f, 1.0f}) {
      const size_t at = static_cast<size_t>((sign < 0 ? 2 : 3) * cols + cols / 2);
      x[at] = sign * std::numeric_limits<float>::infinity();
      finite[at] = sign * 65504.0f;
    }
    for (const KernelVariant& variant : kernel_variants()) {
      std::vector<uint8_t> q(static_cast<size_t>(rows * padded_k(cols)));
      std::vector<float> scales(static_cast<size_t>(rows)), y(x.size()), wanted(x.size());
      const auto run = [&](const std::vector<float>& from, std::vector<float>& to) {
        variant.table->layer_norm_u8(from.data(), cols, rows, cols, gamma.data(), beta.data(), 1e-5f, to.data(), cols, 0,
                                     q.data(), padded_k(cols), scales.data(), nullptr);
      };
      run(x, y);
      run(finite, wanted);
      for (int64_t i = 0; i < rows * cols; ++i) {
        const float found = y[static_cast<size_t>(i)];
        if (i / cols == 0 || i / cols == 5)
          CHECK(std::isnan(found));
        else if (found != wanted[static_cast<size_t>(i)])
          WHITTLE_FAIL(variant.name << ": element " << i << " is " << found);
      }
    }
  }
}

// Rows of several lengths of outliers, with offsets or outliers, bias, activation and residual: the bits of ref.
TEST(epilogue_s8, every_choice_has_the_same_bits_on_every_isa) {
  auto random = generator(34);
  for (int64_t n : {1, 16, 31, 63, 64, 65, 128, 131, 192}) {
    const int64_t k = 9, rows = 5;
    const std::vector<int8_t> w = random_int8(random, k * n);
    const auto row_scales = random_floats(random, rows, 0.01f), column_scales = random_floats(random, n, 0.01f);
    const auto bias = random_floats(random, n), residual = random_floats(random, rows * n);
    std::vector<int32_t> sums(static_cast<size_t>(rows * n)), column_sums(static_cast<size_t>(n)), offsets(rows);
    std::vector<RowOutliers> outliers(rows);
    for (int32_t& sum : sums) sum = static_cast<int32_t>(random() % 40001) - 20000;
    for (int32_t& sum : column_sums) sum = static_cast<int32_t>(random() % 201) - 100;
    for (int64_t r = 0; r < rows; ++r) {
      const size_t row = static_cast<size_t>(r);
      offsets[row] = static_cast<int32_t>(random() % 257) - 128;
      outliers[row].count = static_cast<int32_t>(r);
      for (int i = 0; i < outliers[row].count; ++i) {
        outliers[row].columns[i] = static_cast<int32_t>(random() % k);
        outliers[row].values[i] = static_cast<int32_t>(random() % 601) - 300;
      }
    }
    for (int choice = 0; choice < 24; ++choice) {
      const Activation act = choice % 2 ? Activation::gelu : Activation::none;
      SumsS8 s = {sums.data(), n, row_scales.data(), column_scales.data(), nullptr, nullptr, nullptr, nullptr, 0};
      if (choice / 8 == 1) {
        s.offsets = offsets.data();
        s.column_sums = column_sums.data();
      } else if (choice / 8 == 2) {
        s.outliers = outliers.data();
        s.columns = w.data();
        s.columns_stride = n;
      }
      std::vector<float> expected;
      for (const KernelVariant& variant : kernel_variants()) {
        Guarded<float> y(rows, n, n + 1);
        variant.table->epilogue_s8(s, rows, n, choice / 2 % 2 ? bias.data() : nullptr, act,
                                   choice / 4 % 2 ? residual.data() : nullptr, n, y.data(), n + 1);
        y.check_guards(variant.name);
        std::vector<float> found;
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t j = 0; j < n; ++j) found.push_back(y.at(r, j));
        if (expected.empty()) expected = found;
        if (found != expected) WHITTLE_FAIL(variant.name << ": other bits than ref, choice " << choice << ", n " << n);
      }
    }
  }
}

TEST(epilogue_s8, every_isa_adds_offsets_and_outliers_exactly) {
  auto random = generator(32);
  for (int64_t n : {1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 384, 385}) {
    const int64_t k = 11, stride = n + 3, rows = 3;
    const std::vector<int8_t> w = random_int8(random, k * stride);
    for (int count = 0; count <= kMostOutliers; ++count) {
      std::vector<RowOutliers> outliers(rows);
      std::vector<int32_t> sums(static_cast<size_t>(rows * stride)), column_sums(static_cast<size_t>(n)), offsets(rows);
      for (int32_t& sum : sums) sum = static_cast<int32_t>(random() % 2000001) - 1000000;
      for (int32_t& sum : column_sums) sum = static_cast<int32_t>(random() % 200001) - 100000;
      for (int64_t r = 0; r < rows; ++r) {
        offsets[static_cast<size_t>(r)] = static_cast<int32_t>(random() % 257) - 128;
        outliers[static_cast<size_t>(r)].count = r == 1 ? 0 : count;  // rows differ
        for (int i = 0; i < count; ++i) {
          outliers[static_cast<size_t>(r)].columns[i] = static_cast<int32_t>(random() % k);
          outliers[static_cast<size_t>(r)].values[i] = static_cast<int32_t>(random() % 65535) - 32767;
        }
      }
      const std::vector<float> ones(static_cast<size_t>(n + rows), 1.0f);
      for (bool with_offsets : {false, true}) {
        for (const KernelVariant& variant : kernel_variants()) {
          Guarded<float> y(rows, n, n + 2);
          SumsS8 s = {sums.data(), stride,          ones.data(), ones.data(), nullptr,
                      nullptr,     outliers.data(), w.data(),    stride};
          if (with_offsets)
            s = {sums.data(), stride, ones.data(), ones.data(), offsets.data(), column_sums.data(), nullptr,
                 nullptr,     0};
          variant.table->epilogue_s8(s, rows, n, nullptr, Activation::none, nullptr, 0, y.data(), n + 2);
          y.check_guards(variant.name);
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t i = 0; i < n; ++i) {
              int32_t expected = sums[static_cast<size_t>(r * stride + i)];
              const RowOutliers& o = outliers[static_cast<size_t>(r)];
              if (with_offsets)
                expected += offsets[static_cast<size_t>(r)] * column_sums[static_cast<size_t>(i)];
              else
                for (int j = 0; j < o.count; ++j)
                  expected += o.values[j] * w[static_cast<size_t>(o.columns[j] * stride + i)];
              CHECK_EQUAL(y.at(r, i), static_cast<float>(expected));
            }
          }
        }
      }
    }
  }
}

TEST(widen, every_isa_reads_all_halves_and_bytes) {
  std::vector<uint16_t> halves;
  for (int bits = 0; bits < 65536; ++bits) halves.push_back(static_cast<uint16_t>(bits));
  auto random = generator(36);
  const std::vector<int8_t> bytes = random_int8(random, 1000);
  for (const KernelVariant& variant : kernel_variants()) {
    for (int64_t count : {int64_t{1}, int64_t{7}, int64_t{8}, int64_t{9}, int64_t{65535}, int64_t{65536}}) {
      Guarded<float> y(1, count, count);
      variant.table->widen_f16(halves.data(), count, y.data());
      y.check_guards(variant.name);
      for (int64_t i = 0; i < count; ++i) {
        const float expected = half_to_float(halves[static_cast<size_t>(i)]);
        if (std::isnan(expected))
          CHECK(std::isnan(y.at(0, i)));
        else
          CHECK_EQUAL(y.at(0, i), expected);
      }
    }
    for (int64_t count : {1, 7, 8, 9, 1000}) {
      Guarded<float> y(1, count, count);
      variant.table->widen_s8(bytes.data(), 0.37f, count, y.data());
      y.check_guards(variant.name);
      for (int64_t i = 0; i < count; ++i)
        CHECK_EQUAL(y.at(0, i), static_cast<float>(bytes[static_cast<size_t>(i)]) * 0.37f);
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
        const double step = std::max<double>(magnitudes[3] * 1.5, magnitudes[0] / 256.0) / 127;
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
