// Quantization, conversion, transposition and epilogues of every ISA.
#include "kernels/gelu_polynomial.h"
#include "test/buffers.h"
#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

const int64_t kSizes[] = {1, 3, 15, 16, 17, 31, 33, 63, 64, 65, 127, 384};

}  // namespace

TEST(quantize_rows_s8, every_isa_gives_the_same_bits) {
  auto random = generator(11);
  for (int64_t rows : {1, 2, 5}) {
    for (int64_t cols : kSizes) {
      int64_t stride = cols + static_cast<int64_t>(random() % 4);
      auto x = random_floats(random, rows * stride, std::ldexp(1.0f, static_cast<int>(random() % 40) - 20));
      if (random() % 4 == 0) std::fill(x.begin(), x.begin() + cols, 0.0f);
      // Halves: x * 127 / m lands on n + 0.5 exactly.
      if (random() % 3 == 0) {
        for (int64_t c = 0; c < cols; ++c) x[static_cast<size_t>(c)] = static_cast<float>(c % 127) + 0.5f;
        x[0] = 127.0f;
      }
      for (const KernelVariant& variant : kernel_variants()) {
        Guarded<int8_t> q(rows, padded_k(cols), padded_k(cols) + 64);
        Guarded<float> scales(1, rows, rows);
        variant.table->quantize_rows_s8(x.data(), stride, rows, cols, q.data(), padded_k(cols) + 64, scales.data());
        q.check_guards(variant.name);
        scales.check_guards(variant.name);
        for (int64_t r = 0; r < rows; ++r) {
          float largest = 0;
          for (int64_t c = 0; c < cols; ++c)
            largest = std::max(largest, std::fabs(x[static_cast<size_t>(r * stride + c)]));
          CHECK_EQUAL(scales.at(0, r), largest / 127.0f);
          for (int64_t c = 0; c < padded_k(cols); ++c) {
            float value = c < cols && largest > 0 ? x[static_cast<size_t>(r * stride + c)] * (127.0f / largest) : 0.0f;
            int expected = static_cast<int>(std::nearbyint(value));
            if (q.at(r, c) != expected) {
              WHITTLE_FAIL(variant.name << ": row " << r << " column " << c << " of " << cols << " is "
                                        << int{q.at(r, c)} << " but expected " << expected);
            }
          }
        }
      }
    }
  }
}

TEST(quantize_rows_s8, tiny_rows_count_as_zeros) {
  for (const KernelVariant& variant : kernel_variants()) {
    std::vector<float> x(40, 1e-40f);
    std::vector<int8_t> q(64, 1);
    float scale = 1;
    variant.table->quantize_rows_s8(x.data(), 40, 1, 40, q.data(), 64, &scale);
    CHECK_EQUAL(scale, 0.0f);
    for (int8_t value : q) CHECK_EQUAL(int{value}, 0);
  }
}

TEST(convert_f32_bf16, every_isa_rounds_to_even) {
  auto random = generator(12);
  for (int64_t rows : {1, 3}) {
    for (int64_t cols : kSizes) {
      int64_t stride = cols + static_cast<int64_t>(random() % 4);
      auto x = random_floats(random, rows * stride);
      for (size_t i = 0; i < x.size(); i += 3) {  // ties
        uint32_t bits;
        std::memcpy(&bits, &x[i], sizeof bits);
        bits = (bits & 0xffff0000u) | 0x8000u;
        std::memcpy(&x[i], &bits, sizeof bits);
      }
      for (const KernelVariant& variant : kernel_variants()) {
        Guarded<bf16> y(rows, padded_k(cols), padded_k(cols) + 32);
        variant.table->convert_f32_bf16(x.data(), stride, rows, cols, y.data(), padded_k(cols) + 32);
        y.check_guards(variant.name);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < padded_k(cols); ++c) {
            CHECK_EQUAL(y.at(r, c), c < cols ? bf16_bits(x[static_cast<size_t>(r * stride + c)]) : uint16_t{0});
          }
        }
      }
    }
  }
}

TEST(transpose_f32, every_isa_both_forms) {
  auto random = generator(13);
  for (int64_t rows : kSizes) {
    for (int64_t cols : kSizes) {
      int64_t stride = cols + static_cast<int64_t>(random() % 4);
      auto x = random_floats(random, rows * stride);
      for (const KernelVariant& variant : kernel_variants()) {
        Guarded<float> y(cols, rows, rows + 3);
        variant.table->transpose_f32(x.data(), stride, rows, cols, y.data(), rows + 3);
        y.check_guards(variant.name);
        Guarded<bf16> z(cols, padded_k(rows), padded_k(rows));
        variant.table->transpose_f32_bf16(x.data(), stride, rows, cols, z.data(), padded_k(rows));
        z.check_guards(variant.name);
        for (int64_t c = 0; c < cols; ++c) {
          for (int64_t r = 0; r < rows; ++r) {
            CHECK_EQUAL(y.at(c, r), x[static_cast<size_t>(r * stride + c)]);
            CHECK_EQUAL(z.at(c, r), bf16_bits(x[static_cast<size_t>(r * stride + c)]));
          }
          for (int64_t r = rows; r < padded_k(rows); ++r) CHECK_EQUAL(z.at(c, r), uint16_t{0});
        }
      }
    }
  }
}

namespace {

double activated(double x, Activation act) {
  if (act == Activation::gelu) return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  return act == Activation::tanh ? std::tanh(x) : x;
}

// Every choice of bias, activation and residual, over all widths; `scaled` is the value before the bias.
template <typename C, typename Run>
void check_epilogue(uint64_t stream, const std::vector<C>& inputs, double gelu_error, const Run& run) {
  auto random = generator(stream);
  for (int64_t cols : kSizes) {
    for (int choice = 0; choice < 12; ++choice) {
      const int64_t rows = 3;
      Activation act = static_cast<Activation>(choice % 3);
      bool with_bias = choice / 3 % 2, with_residual = choice / 6;
      auto bias = random_floats(random, cols), residual = random_floats(random, rows * (cols + 2));
      std::vector<C> c(static_cast<size_t>(rows * (cols + 1)));
      for (C& value : c) value = inputs[random() % inputs.size()];
      auto row_scales = random_floats(random, rows, 0.1f), column_scales = random_floats(random, cols, 0.1f);
      for (const KernelVariant& variant : kernel_variants()) {
        Guarded<float> y(rows, cols, cols + 5);
        run(*variant.table, c.data(), cols + 1, rows, cols, row_scales.data(), column_scales.data(),
            with_bias ? bias.data() : nullptr, act, with_residual ? residual.data() : nullptr, cols + 2, y.data(),
            cols + 5);
        y.check_guards(variant.name);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t j = 0; j < cols; ++j) {
            const float of_row = std::is_same_v<C, int32_t> ? row_scales[static_cast<size_t>(r)] : 1.0f;
            const float of_column = std::is_same_v<C, int32_t> ? column_scales[static_cast<size_t>(j)] : 1.0f;
            const float before = std::fma(static_cast<float>(c[static_cast<size_t>(r * (cols + 1) + j)]) * of_row,
                                          of_column, with_bias ? bias[static_cast<size_t>(j)] : -0.0f);
            double wanted = activated(before, act);
            if (with_residual) wanted += residual[static_cast<size_t>(r * (cols + 2) + j)];
            // erf and tanh within 2e-7 of 1, and float32 roundings of the sums.
            double bound =
                act == Activation::none && !with_residual ? 0 : 3e-7 * (1 + std::fabs(before) + std::fabs(wanted));
            if (act == Activation::gelu) bound += gelu_error;
            if (!(std::fabs(y.at(r, j) - wanted) <= bound)) {
              WHITTLE_FAIL(variant.name << ": activation " << static_cast<int>(act) << " of " << before << " is "
                                        << y.at(r, j) << " but expected " << wanted << " within " << bound);
            }
          }
        }
      }
    }
  }
}

}  // namespace

TEST(epilogue_s8, every_isa_and_choice) {
  auto random = generator(14);
  std::vector<int32_t> inputs;
  for (int i = 0; i < 4000; ++i) inputs.push_back(static_cast<int32_t>(random() % 20001) - 10000);
  check_epilogue(15, inputs, kGeluError,
                 [](const KernelTable& table, const int32_t* c, int64_t c_stride, int64_t rows, int64_t cols,
                    const float* row_scales, const float* column_scales, auto... rest) {
                   table.epilogue_s8({c, c_stride, row_scales, column_scales, nullptr, nullptr, nullptr, nullptr, 0},
                                     rows, cols, rest...);
                 });
}

TEST(epilogue_f32, every_isa_and_choice) {
  auto random = generator(16);
  std::vector<float> inputs = random_floats(random, 4000, 3);
  for (float special : {0.0f, -0.0f, 1e-20f, -1e-20f, 100.0f, -100.0f, 1e4f, -1e4f}) inputs.push_back(special);
  check_epilogue(
      17, inputs, 0,
      [](const KernelTable& table, const float* c, int64_t c_stride, int64_t rows, int64_t cols, const float*,
         const float*, auto... rest) { table.epilogue_f32(c, c_stride, rows, cols, rest...); });
}
