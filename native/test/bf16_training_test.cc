// The kernels that training uses on rows kept as bf16, on every ISA with bf16 products, against the plain reference.
#include <algorithm>

#include "cpu/arena.h"
#include "kernels/ref/bfloat16.h"
#include "test/buffers.h"
#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;
using ref::to_bf16;
using ref::to_f32;

namespace {

const int64_t kSizes[] = {1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 97, 384};

const KernelTable& reference() {
  return *kernels_for(Isa::ref);
}

// Both round to bf16, at places that may differ: 2^-8 relative to values of order 1.
constexpr double kTolerance = 8e-3;

// rows of bf16 `stride` apart, with zeros from `cols` to padded_k(cols).
std::vector<bf16> random_rows(std::mt19937_64& random, int64_t rows, int64_t cols, int64_t stride) {
  std::vector<bf16> values(static_cast<size_t>(rows * stride));
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = random_floats(random, cols);
    for (int64_t c = 0; c < stride; ++c) {
      values[static_cast<size_t>(r * stride + c)] = c < cols ? to_bf16(row[static_cast<size_t>(c)]) : bf16{0};
    }
  }
  return values;
}

void check_close(float actual, float expected, double tolerance, const std::string& what) {
  if (!(std::fabs(actual - expected) <= tolerance * (1 + std::fabs(expected)))) {
    WHITTLE_FAIL(what << " is " << actual << " but expected " << expected);
  }
}

void check_close(Guarded<bf16>& actual, Guarded<bf16>& expected, int64_t rows, int64_t cols, const std::string& what) {
  actual.check_guards(what);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      check_close(to_f32(actual.at(r, c)), to_f32(expected.at(r, c)), kTolerance,
                  what + ": [" + std::to_string(r) + ", " + std::to_string(c) + "]");
    }
  }
}

// Variants with bf16 products; says so if there are none.
template <typename Body>
void for_each_variant(const Body& body) {
  int count = 0;
  for (const KernelVariant& variant : kernel_variants()) {
    if (!variant.table->native_bf16) continue;
    body(*variant.table, variant.name);
    ++count;
  }
  if (count == 0) SKIP("neither this CPU nor this build's emulation has bf16 products: their kernels DID NOT RUN");
}

}  // namespace

TEST(bf16_training, epilogue) {
  auto random = generator(71);
  for (int64_t cols : kSizes) {
    const int64_t rows = 5, stride = padded_k(cols) + 3, c_stride = cols + 1;
    const auto c = random_floats(random, rows * c_stride, 2), bias = random_floats(random, cols);
    for (bool activates : {false, true}) {
      const auto run = [&](const KernelTable& table, Guarded<bf16>& y, Guarded<bf16>& activated) {
        table.epilogue_bf16(c.data(), c_stride, rows, cols, bias.data(), y.data(),
                            activates ? activated.data() : nullptr, stride);
      };
      Guarded<bf16> y(rows, padded_k(cols), stride), activated(rows, padded_k(cols), stride);
      run(reference(), y, activated);
      for_each_variant([&](const KernelTable& table, const std::string& name) {
        const std::string what = name + ", " + std::to_string(cols) + " columns";
        Guarded<bf16> z(rows, padded_k(cols), stride), gelu(rows, padded_k(cols), stride);
        run(table, z, gelu);
        check_close(z, y, rows, padded_k(cols), what);
        if (activates) check_close(gelu, activated, rows, padded_k(cols), what + ": gelu");
        for (int64_t column = cols; column < padded_k(cols); ++column) CHECK_EQUAL(z.at(0, column), bf16{0});
      });
    }
  }
}

TEST(bf16_training, gelu_backward) {
  auto random = generator(72);
  for (int64_t cols : kSizes) {
    const int64_t rows = 5, stride = padded_k(cols) + 3, dy_stride = cols + 1;
    const auto x = random_rows(random, rows, cols, stride);
    const auto dy = random_floats(random, rows * dy_stride), start = random_floats(random, cols);
    const auto run = [&](const KernelTable& table, Guarded<bf16>& dx, bf16* activated, Guarded<float>& sums) {
      std::copy(start.begin(), start.end(), sums.data());
      table.gelu_backward_bf16(x.data(), stride, dy.data(), dy_stride, rows, cols, dx.data(), activated, sums.data());
    };
    Guarded<bf16> dx(rows, padded_k(cols), stride), activated(rows, padded_k(cols), stride);
    Guarded<float> sums(1, cols, cols);
    run(reference(), dx, activated.data(), sums);
    for_each_variant([&](const KernelTable& table, const std::string& name) {
      const std::string what = name + ", " + std::to_string(cols) + " columns";
      Guarded<bf16> one(rows, padded_k(cols), stride), gelu(rows, padded_k(cols), stride);
      Guarded<float> total(1, cols, cols);
      run(table, one, gelu.data(), total);
      check_close(one, dx, rows, padded_k(cols), what);
      check_close(gelu, activated, rows, padded_k(cols), what + ": gelu");
      total.check_guards(what);
      for (int64_t c = 0; c < cols; ++c) check_close(total.at(0, c), sums.at(0, c), 1e-4, what + ": sums");
      // In place, and without the activation.
      Guarded<bf16> in_place(rows, padded_k(cols), stride);
      for (int64_t r = 0; r < rows; ++r) {
        std::copy_n(x.data() + r * stride, padded_k(cols), &in_place.at(r, 0));
      }
      table.gelu_backward_bf16(in_place.data(), stride, dy.data(), dy_stride, rows, cols, in_place.data(), nullptr,
                               total.data());
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < padded_k(cols); ++c) CHECK_EQUAL(in_place.at(r, c), one.at(r, c));
      }
      in_place.check_guards(what);
    });
  }
}

TEST(bf16_training, column_sums) {
  auto random = generator(73);
  for (int64_t cols : kSizes) {
    const int64_t rows = 9, stride = cols + 3;
    const auto x = random_rows(random, rows, cols, stride);
    const auto start = random_floats(random, cols);
    auto expected = start;
    reference().column_sums_bf16(x.data(), stride, rows, cols, expected.data());
    for_each_variant([&](const KernelTable& table, const std::string& name) {
      Guarded<float> sums(1, cols, cols);
      std::copy(start.begin(), start.end(), sums.data());
      table.column_sums_bf16(x.data(), stride, rows, cols, sums.data());
      sums.check_guards(name);
      for (int64_t c = 0; c < cols; ++c) check_close(sums.at(0, c), expected[static_cast<size_t>(c)], 1e-5, name);
    });
  }
}

TEST(bf16_training, transposition_and_packing_move_every_element) {
  auto random = generator(74);
  for (int64_t rows : kSizes) {
    for (int64_t cols : kSizes) {
      const int64_t stride = cols + 3;
      const auto x = random_rows(random, rows, cols, stride);
      std::vector<float> floats;
      for (bf16 value : x) floats.push_back(to_f32(value));
      for_each_variant([&](const KernelTable& table, const std::string& name) {
        const std::string what = name + ", " + std::to_string(rows) + " x " + std::to_string(cols);
        Guarded<bf16> y(cols, padded_k(rows), padded_k(rows) + 5);
        table.transpose_bf16(x.data(), stride, rows, cols, y.data(), padded_k(rows) + 5);
        y.check_guards(what);
        for (int64_t c = 0; c < cols; ++c) {
          for (int64_t r = 0; r < padded_k(rows); ++r) {
            CHECK_EQUAL(y.at(c, r), r < rows ? x[static_cast<size_t>(r * stride + c)] : bf16{0});
          }
        }
        // As packing the same numbers from float32, in two parts.
        const auto& product = table.gemm_bf16;
        const int64_t bytes = product.packed_bytes(cols, rows);
        const int64_t middle = std::min(cols, (cols / 2 + product.panel - 1) / product.panel * product.panel);
        AlignedBuffer expected(static_cast<size_t>(bytes) + 64), packed(static_cast<size_t>(bytes) + 64);
        for (const AlignedBuffer* buffer : {&expected, &packed}) {
          std::fill_n(buffer->as<uint8_t>(), bytes + 64, uint8_t{0x5a});
        }
        product.pack(floats.data(), 1, stride, cols, rows, 0, cols, expected.as<void>());
        table.pack_transposed_bf16(x.data(), stride, cols, rows, middle, cols, packed.as<void>());
        table.pack_transposed_bf16(x.data(), stride, cols, rows, 0, middle, packed.as<void>());
        if (!std::equal(packed.as<uint8_t>(), packed.as<uint8_t>() + bytes + 64, expected.as<uint8_t>())) {
          WHITTLE_FAIL(what << ": packed otherwise than from float32");
        }
      });
    }
  }
}

TEST(bf16_training, attention) {
  auto random = generator(75);
  for (int64_t length : {1, 2, 7, 14, 15, 16, 17, 31, 33, 48, 63, 64, 65, 97, 128, 200}) {
    for (int64_t size : {1, 8, 15, 16, 32, 40, 64}) {
      const int64_t stride = 3 * size + 5, out_stride = size + 3, bits_stride = (length + 15) / 16 * 2 + 2;
      const auto qkv = random_rows(random, length, 3 * size, stride);
      const auto dout = random_rows(random, length, size, out_stride);
      const auto bias = random_floats(random, length * (length + 1));
      std::vector<uint8_t> bits(static_cast<size_t>(length * bits_stride));
      for (uint8_t& byte : bits) byte = static_cast<uint8_t>(random() | random());
      const KeepMask mask{bits.data(), bits_stride, 1.3f};
      const ScoreBias full{bias.data(), length}, by_distance{bias.data() + length - 1, -1};
      const ScoreBias* biases[] = {nullptr, &full, &by_distance};
      const float scale = 1 / std::sqrt(static_cast<float>(size));

      struct Result {
        Guarded<bf16> out, gradients;
        Guarded<float> softmax, dbias;
      };
      for (int choice = 0; choice < 6; ++choice) {
        const ScoreBias* scores = biases[choice / 2];
        const KeepMask* keep = choice & 1 ? &mask : nullptr;
        const std::string name = "length " + std::to_string(length) + ", head size " + std::to_string(size) +
                                 ", choice " + std::to_string(choice);
        // in_place: the gradients take the place of q, k and v. Scratch ends at sentinels.
        const auto run = [&](const KernelTable& table, bool in_place, const std::string& what) {
          const int64_t distances = length * (length + 1);
          Result result{{length, size, out_stride},
                        {length, 3 * size, stride},
                        {2, length, length},
                        {1, distances, distances}};
          std::fill_n(result.dbias.data(), distances, 0.0f);
          const bf16* q = qkv.data();
          if (in_place) {
            for (int64_t r = 0; r < length; ++r) {
              std::copy_n(qkv.data() + r * stride, 3 * size, &result.gradients.at(r, 0));
            }
            q = result.gradients.data();
          }
          const int64_t forward_floats = table.attention_forward_bf16_scratch(length, size);
          Guarded<float> scratch(1, forward_floats, forward_floats);
          table.attention_forward_bf16(q, q + size, q + 2 * size, stride, length, size, scale, scores, scratch.data(),
                                       result.out.data(), out_stride, result.softmax.data(), keep);
          scratch.check_guards(what + ": scratch");
          const int64_t backward_floats = table.attention_backward_bf16_scratch(length, size);
          Guarded<float> more_scratch(1, backward_floats, backward_floats);
          bf16* dq = result.gradients.data();
          table.attention_backward_bf16(q, q + size, q + 2 * size, stride, length, size, scale, scores,
                                        dout.data(), out_stride, result.softmax.data(), keep,
                                        more_scratch.data(), dq, dq + size, dq + 2 * size,
                                        scores ? result.dbias.data() + (scores->data - bias.data()) : nullptr);
          more_scratch.check_guards(what + ": scratch of the backward pass");
          return result;
        };
        Result expected = run(reference(), false, name);
        for_each_variant([&](const KernelTable& table, const std::string& variant) {
          const std::string what = variant + ", " + name;
          for (bool in_place : {false, true}) {
            Result actual = run(table, in_place, what);
            check_close(actual.out, expected.out, length, size, what);
            check_close(actual.gradients, expected.gradients, length, 3 * size, what + ": dq, dk, dv");
            actual.softmax.check_guards(what);
            for (int64_t i = 0; i < length; ++i) {
              check_close(actual.softmax.at(0, i), expected.softmax.at(0, i), 1e-5, what + ": highest score");
              check_close(actual.softmax.at(1, i), expected.softmax.at(1, i), 1e-5, what + ": share");
            }
            for (int64_t i = 0; scores && i < length * (length + 1); ++i) {
              check_close(actual.dbias.at(0, i), expected.dbias.at(0, i), kTolerance, what + ": dbias");
            }
          }
        });
      }
    }
  }
}
