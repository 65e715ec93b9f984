// ops/gemm.h: linear layers and general products against sums in double, and the same bits on any number of threads.
#include "ops/gemm.h"

#include "kernels/gelu_polynomial.h"
#include "ops/linear_bytes.h"
#include "test/buffers.h"
#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

double activated(double x, Activation act) {
  if (act == Activation::gelu) return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  return act == Activation::tanh ? std::tanh(x) : x;
}

// Results of one linear layer in double, from operands rounded as the precision rounds them.
std::vector<double> linear_in_double(const std::vector<float>& x, const std::vector<float>& w, int64_t m, int64_t n,
                                     int64_t k, Precision precision, bool rounds_bf16) {
  auto rounded = [&](const std::vector<float>& values, int64_t rows) {
    std::vector<double> result(values.begin(), values.end());
    for (int64_t r = 0; r < rows; ++r) {
      float largest = 0;
      for (int64_t c = 0; c < k; ++c) largest = std::max(largest, std::fabs(values[static_cast<size_t>(r * k + c)]));
      for (int64_t c = 0; c < k; ++c) {
        size_t at = static_cast<size_t>(r * k + c);
        if (precision == Precision::int8) {
          result[at] = std::nearbyint(values[at] * (127.0f / largest)) * static_cast<double>(largest / 127.0f);
        } else if (precision == Precision::bfloat16 && rounds_bf16) {
          result[at] = rounded_to_bf16(values[at]);
        }
      }
    }
    return result;
  };
  std::vector<double> xd = rounded(x, m), wd = rounded(w, n), y(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += xd[static_cast<size_t>(i * k + l)] * wd[static_cast<size_t>(j * k + l)];
      y[static_cast<size_t>(i * n + j)] = sum;
    }
  }
  return y;
}

void check_linear(int64_t m, int64_t n, int64_t k, Precision precision, Activation act, bool with_bias,
                  bool with_residual) {
  auto random = generator(21);
  auto x = random_floats(random, m * k), w = random_floats(random, n * k, 0.1f);
  auto bias = random_floats(random, n), residual = random_floats(random, m * (n + 1));
  for (const KernelVariant& variant : kernel_variants()) {
    auto sums = linear_in_double(x, w, m, n, k, precision, variant.table->native_bf16);
    std::vector<float> first;
    for (int threads : {1, 2, 3, 7}) {
      Arena arena;
      Context context{*variant.table, ThreadPool::instance(), threads, arena};
      PackedWeight weight = pack_weight(w.data(), n, k, precision, context);
      Guarded<float> y(m, n, n + 3);
      linear({x.data(), k, m, &weight, with_bias ? bias.data() : nullptr, act,
              with_residual ? residual.data() : nullptr, n + 1, y.data(), n + 3},
             context);
      y.check_guards(variant.name);
      std::vector<float> result;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          double before = sums[static_cast<size_t>(i * n + j)] + (with_bias ? bias[static_cast<size_t>(j)] : 0.0f);
          double wanted = activated(before, act) + (with_residual ? residual[static_cast<size_t>(i * (n + 1) + j)] : 0);
          const double of_gelu = act == Activation::gelu && precision == Precision::int8 ? kGeluError : 0;
          CHECK_NEAR(y.at(i, j), wanted, 1e-5 * std::sqrt(static_cast<double>(k) / 64 + 1) + of_gelu);
          result.push_back(y.at(i, j));
        }
      }
      if (first.empty()) first = result;
      if (std::memcmp(first.data(), result.data(), first.size() * sizeof(float)) != 0) {
        WHITTLE_FAIL(variant.name << ": " << threads << " threads give other bits than one, m=" << m << " n=" << n
                                  << " k=" << k);
      }
    }
  }
}

}  // namespace

TEST(linear, every_precision_bias_activation_and_residual) {
  for (Precision precision : {Precision::float32, Precision::bfloat16, Precision::int8}) {
    for (int choice = 0; choice < 12; ++choice) {
      check_linear(9, 70, 65, precision, static_cast<Activation>(choice % 3), choice / 3 % 2, choice / 6);
    }
  }
}

TEST(linear, shapes_that_split_by_rows_or_by_columns) {
  for (Precision precision : {Precision::float32, Precision::bfloat16, Precision::int8}) {
    check_linear(1, 1152, 384, precision, Activation::none, true, false);
    check_linear(5, 384, 768, precision, Activation::gelu, true, true);
    check_linear(130, 384, 97, precision, Activation::none, false, false);
    check_linear(701, 130, 64, precision, Activation::none, true, true);
  }
}

TEST(linear, residual_may_be_the_output) {
  auto random = generator(22);
  const int64_t m = 40, n = 48, k = 64;
  auto x = random_floats(random, m * k), w = random_floats(random, n * k), y = random_floats(random, m * n);
  for (const KernelVariant& variant : kernel_variants()) {
    Arena arena;
    Context context{*variant.table, ThreadPool::instance(), 2, arena};
    for (Precision precision : {Precision::float32, Precision::int8}) {
      PackedWeight weight = pack_weight(w.data(), n, k, precision, context);
      std::vector<float> apart(static_cast<size_t>(m * n)), in_place = y;
      linear({x.data(), k, m, &weight, nullptr, Activation::none, y.data(), n, apart.data(), n}, context);
      linear({x.data(), k, m, &weight, nullptr, Activation::none, in_place.data(), n, in_place.data(), n}, context);
      CHECK(apart == in_place);
    }
  }
}

TEST(linear, int8_weights_as_stored_equal_those_quantized_here) {
  auto random = generator(23);
  const int64_t m = 33, n = 48, k = 100;
  auto x = random_floats(random, m * k), w = random_floats(random, n * k);
  std::vector<float> of_ref;
  for (const KernelVariant& variant : kernel_variants()) {
    Arena arena;
    Context context{*variant.table, ThreadPool::instance(), 2, arena};
    std::vector<int8_t> q(static_cast<size_t>(n * k));
    std::vector<float> scales(static_cast<size_t>(n));
    for (int64_t r = 0; r < n; ++r) {
      float largest = 0;
      for (int64_t c = 0; c < k; ++c) largest = std::max(largest, std::fabs(w[static_cast<size_t>(r * k + c)]));
      scales[static_cast<size_t>(r)] = largest / 127.0f;
      for (int64_t c = 0; c < k; ++c) {
        q[static_cast<size_t>(r * k + c)] =
            static_cast<int8_t>(std::nearbyint(w[static_cast<size_t>(r * k + c)] * (127.0f / largest)));
      }
    }
    PackedWeight stored = pack_weight_s8(q.data(), scales.data(), n, k, context);
    PackedWeight quantized = pack_weight(w.data(), n, k, Precision::int8, context);
    std::vector<float> first(static_cast<size_t>(m * n)), second(first.size());
    linear({x.data(), k, m, &stored, nullptr, Activation::none, nullptr, 0, first.data(), n}, context);
    linear({x.data(), k, m, &quantized, nullptr, Activation::none, nullptr, 0, second.data(), n}, context);
    CHECK(first == second);
    if (of_ref.empty()) of_ref = first;
    if (first != of_ref) WHITTLE_FAIL(variant.name << ": an int8 layer gives other bits than ref");
  }
}

// On AMX sums of up to 128 rows, four blocks of equally many, are finished at once; of 129 rows a fifth block is left,
// which begins with rows that the fourth has too.
TEST(linear_bytes, every_isa_gives_the_same_bits_for_any_number_of_rows_and_columns) {
  auto random = generator(29);
  const int64_t k = 130;
  struct Columns {
    int64_t n, head_size, flipped;
  };
  for (const auto& [n, head_size, flipped] :
       {Columns{32, 16, 16}, {64, 32, 32}, {100, 20, 40}, {192, 64, 64}, {192, 32, 96}, {257, 257, 0}}) {
    const auto w = random_floats(random, n * k), bias = random_floats(random, n);
    for (int64_t m : {1, 15, 31, 96, 97, 128, 129, 192, 200}) {
      auto x = random_floats(random, m * k);
      for (int64_t r = 0; r < m; r += 3) x[static_cast<size_t>(r * k + r % k)] = 90;  // outliers
      auto gelu_results = x;  // which are not lower
      for (float& value : gelu_results) value = std::max(value, -kGeluLowest);
      const auto residual = random_floats(random, m * n);
      for (const bool after_gelu : {false, true}) {
        std::vector<float> of_ref;
        std::vector<int8_t> bytes_of_ref;
        std::vector<float> scales_of_ref;
        for (const KernelVariant& variant : kernel_variants()) {
          const KernelTable& table = *variant.table;
          Arena arena;
          const Context context{table, ThreadPool::instance(), 1, arena};
          const PackedWeight weight = pack_weight(w.data(), n, k, Precision::int8, context, 2);
          const ByteRows rows = ByteRows::take(arena, m, k, after_gelu, !after_gelu);
          if (after_gelu) {
            table.quantize_gelu_u8(gelu_results.data(), k, m, k, rows.data, rows.stride, rows.scales, rows.offsets);
          } else {
            table.quantize_rows_u8(x.data(), k, m, k, 2, rows.data, rows.stride, rows.scales, rows.outliers);
          }
          const LinearBytes g = {rows, m, &weight, bias.data(), 0, n};
          Guarded<float> y(m, n, n + 3);
          linear_bytes(g, Activation::gelu, residual.data(), n, y.data(), n + 3, table, arena);
          y.check_guards(variant.name);
          std::vector<float> all;
          for (int64_t r = 0; r < m; ++r) {
            for (int64_t c = 0; c < n; ++c) all.push_back(y.at(r, c));
          }
          Guarded<int8_t> heads(m, n, n + 5);
          Guarded<float> scales(n / head_size, m, m + 3);
          linear_bytes(g, HeadRows{heads.data(), n + 5, scales.data(), m + 3, head_size, flipped}, table, arena);
          heads.check_guards(variant.name);
          scales.check_guards(variant.name);
          std::vector<int8_t> bytes(heads.data(), heads.data() + m * (n + 5));
          std::vector<float> head_scales;
          for (int64_t h = 0; h < n / head_size; ++h)
            for (int64_t r = 0; r < m; ++r) head_scales.push_back(scales.at(h, r));
          if (of_ref.empty()) of_ref = all;
          if (bytes_of_ref.empty()) {
            // The reference is the first: what it gives are its float32 results, quantized.
            linear_bytes(g, Activation::none, nullptr, 0, y.data(), n + 3, table, arena);
            Guarded<int8_t> plain(m, n, n + 5);
            Guarded<float> plain_scales(n / head_size, m, m);
            for (int64_t h = 0; h < n / head_size; ++h)
              table.quantize_heads_s8(y.data() + h * head_size, n + 3, m, 1, head_size,
                                      h * head_size < flipped ? 0x80 : 0, plain.data() + h * head_size, n + 5,
                                      plain_scales.data() + h * m, m);
            bytes_of_ref.assign(plain.data(), plain.data() + m * (n + 5));
            scales_of_ref.assign(plain_scales.data(), plain_scales.data() + n / head_size * m);
          }
          const std::string what = variant.name + ", " + std::to_string(m) + " x " + std::to_string(n);
          for (float value : all) CHECK(std::isfinite(value));
          if (all != of_ref) WHITTLE_FAIL(what << ": other bits than ref");
          if (bytes != bytes_of_ref || head_scales != scales_of_ref) WHITTLE_FAIL(what << ": other heads than ref");
        }
      }
    }
  }
}

TEST(matmul, all_forms_precisions_and_thread_counts) {
  auto random = generator(24);
  struct Shape {
    int64_t m, n, k;
  };
  for (Shape s : {Shape{1, 1, 1}, {7, 5, 3}, {17, 17, 32}, {17, 32, 17}, {33, 65, 97}, {130, 70, 64}, {300, 129, 40}}) {
    auto a = random_floats(random, 2 * s.m * s.k), b = random_floats(random, 2 * s.k * s.n);
    auto start = random_floats(random, s.m * s.n);
    for (int form = 0; form < 6; ++form) {
      // A and B row-major, transposed, or with a gap of one between elements.
      int64_t a_row = form % 3 == 0   ? s.k
                      : form % 3 == 1 ? 1
                                      : 2 * s.k,
              a_column = form % 3 == 0   ? 1
                         : form % 3 == 1 ? s.m
                                         : 2;
      int64_t b_row = form / 3 ? 1 : s.n, b_column = form / 3 ? s.k : 1;
      for (Precision precision : {Precision::float32, Precision::bfloat16}) {
        bool accumulate = form % 2;
        for (const KernelVariant& variant : kernel_variants()) {
          bool rounds = precision == Precision::bfloat16 && variant.table->native_bf16;
          std::vector<float> first;
          for (int threads : {1, 2, 5}) {
            Arena arena;
            Context context{*variant.table, ThreadPool::instance(), threads, arena};
            Guarded<float> c(s.m, s.n, s.n + 1);
            for (int64_t i = 0; i < s.m; ++i) {
              for (int64_t j = 0; j < s.n; ++j) {
                if (accumulate) c.at(i, j) = start[static_cast<size_t>(i * s.n + j)];
              }
            }
            matmul({s.m, s.n, s.k, a.data(), a_row, a_column, b.data(), b_row, b_column, c.data(), s.n + 1, accumulate},
                   precision, context);
            c.check_guards(variant.name);
            std::vector<float> result;
            for (int64_t i = 0; i < s.m; ++i) {
              for (int64_t j = 0; j < s.n; ++j) result.push_back(c.at(i, j));
            }
            if (first.empty()) {
              first = result;
              for (int64_t i = 0; i < s.m; ++i) {
                for (int64_t j = 0; j < s.n; ++j) {
                  double sum = accumulate ? start[static_cast<size_t>(i * s.n + j)] : 0;
                  for (int64_t l = 0; l < s.k; ++l) {
                    float av = a[static_cast<size_t>(i * a_row + l * a_column)],
                          bv = b[static_cast<size_t>(l * b_row + j * b_column)];
                    sum += rounds ? static_cast<double>(rounded_to_bf16(av)) * rounded_to_bf16(bv)
                                  : static_cast<double>(av) * bv;
                  }
                  CHECK_NEAR(c.at(i, j), sum, 1e-5);
                }
              }
            }
            CHECK(std::memcmp(first.data(), result.data(), first.size() * sizeof(float)) == 0);
          }
        }
      }
    }
  }
}
