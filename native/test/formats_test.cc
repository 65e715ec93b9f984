// Half precision in bits, and tensors written and read.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "cpu/error.h"
#include "formats/half.h"
#include "formats/tensor_file.h"
#include "test/buffers.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// value of a float16 by its definition
double half_by_definition(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

// The nearest float16, ties to even, by its definition.
uint16_t nearest_half(float value) {
  const double magnitude = std::fabs(double{value});
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (magnitude >= 65520) return sign | 0x7c00;
  int exponent = magnitude < std::ldexp(1.0, -14) ? -14 : std::ilogb(magnitude);
  const double unit = std::ldexp(1.0, exponent - 10);
  const double steps = std::nearbyint(magnitude / unit);
  const int bits = exponent == -14 && steps < 1024 ? static_cast<int>(steps)
                                                   : ((exponent + 15) << 10) + static_cast<int>(steps) - 1024;
  return static_cast<uint16_t>(sign | bits);
}

std::string temporary_path() {
  const char* folder = std::getenv("TMPDIR");
  return std::string(folder ? folder : "/tmp") + "/whittle-formats-test-" + std::to_string(getpid());
}

template <typename Action>
std::string error_code(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return "none";
}

}  // namespace

TEST(half, every_float16_is_read_and_written) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const double expected = half_by_definition(half);
    const float value = half_to_float(half);
    if (std::isnan(expected)) {
      CHECK(std::isnan(value) && (float_to_half(value) & 0x7c00) == 0x7c00 && (float_to_half(value) & 0x3ff) != 0);
      continue;
    }
    CHECK_EQUAL(double{value}, expected);
    CHECK_EQUAL(float_to_half(value), half);
  }
}

TEST(half, floats_are_rounded_to_the_nearest) {
  auto random = generator(41);
  for (int i = 0; i < 200000; ++i) {
    float value =
        std::ldexp(static_cast<float>(static_cast<int>(random() % 16777216)), static_cast<int>(random() % 48) - 52);
    if (random() % 2) value = -value;
    // Ties: a float16 and half of its unit.
    if (random() % 3 == 0) {
      const uint16_t half = static_cast<uint16_t>(random() % 0x7bff);
      value = (half_to_float(half) + half_to_float(static_cast<uint16_t>(half + 1))) / 2;
    }
    CHECK_EQUAL(float_to_half(value), nearest_half(value));
    const uint16_t rounded = float_to_bf16(value);
    const double error = std::fabs(double{bf16_to_float(rounded)} - value);
    CHECK(error <= std::fabs(double{value}) / 256);
    for (int step : {-1, 1}) {
      const double other = std::fabs(double{bf16_to_float(static_cast<uint16_t>(rounded + step))} - value);
      CHECK(error < other || (error == other && rounded % 2 == 0));
    }
  }
  CHECK((float_to_bf16(std::nanf("")) & 0x7fff) > 0x7f80);
}

TEST(tensor_file, the_first_value_that_is_not_finite_is_named) {
  StoredTensor tensor;
  tensor.name = "w";
  tensor.file = "f";
  const auto code = [&](const auto& values, Dtype dtype) {
    return error_code([&] { expect_finite(tensor, values.data(), dtype, static_cast<int64_t>(values.size())); });
  };
  const float infinite = std::numeric_limits<float>::infinity();
  for (size_t count : {1, 63, 4096, 4097, 9001}) {
    const std::vector<float> floats(count, std::numeric_limits<float>::max());
    const std::vector<uint16_t> halves(count, 0x7bff), brains(count, 0x7f7f);  // the largest numbers of each
    CHECK_EQUAL(code(floats, Dtype::f32), std::string("none"));
    CHECK_EQUAL(code(halves, Dtype::f16), std::string("none"));
    CHECK_EQUAL(code(brains, Dtype::bf16), std::string("none"));
    CHECK_EQUAL(code(std::vector<uint8_t>(count, 0xff), Dtype::i8), std::string("none"));
    for (size_t at : {size_t{0}, count / 2, count - 1}) {
      for (float value : {std::nanf(""), infinite, -infinite}) {
        std::vector<float> broken = floats;
        broken[at] = value;
        CHECK_EQUAL(code(broken, Dtype::f32), std::string("BAD_CHECKPOINT"));
        try {
          expect_finite(tensor, broken.data(), Dtype::f32, static_cast<int64_t>(count));
        } catch (const Error& error) {
          const std::string expected = "f: tensor w: expected finite numbers but element " + std::to_string(at) + " ";
          CHECK_EQUAL(std::string(error.what()).find(expected), size_t{0});
        }
      }
      for (int bits : {0x7c00, 0x7e01, 0xfc00}) {
        std::vector<uint16_t> broken = halves;
        broken[at] = static_cast<uint16_t>(bits);
        CHECK_EQUAL(code(broken, Dtype::f16), std::string("BAD_CHECKPOINT"));
      }
      for (int bits : {0x7f80, 0x7fc0, 0xff80}) {
        std::vector<uint16_t> broken = brains;
        broken[at] = static_cast<uint16_t>(bits);
        CHECK_EQUAL(code(broken, Dtype::bf16), std::string("BAD_CHECKPOINT"));
      }
    }
  }
}

TEST(tensor_file, reads_what_was_written_and_names_what_is_wrong) {
  const std::string path = temporary_path();
  std::remove(path.c_str());
  const std::vector<float> values = {1.0f, -2.5f, 0.0f, 65504.0f, 0.333f, 7.0f};
  const std::vector<int8_t> quantized = {-127, 0, 5, 127, 1, 2};
  const uint8_t header[4] = {1, 2, 3, 4};
  const std::vector<TensorToWrite> tensors = {{"a", Dtype::f32, values.data(), nullptr, 6},
                                              {"b", Dtype::f16, values.data(), nullptr, 6},
                                              {"c", Dtype::bf16, values.data(), nullptr, 6},
                                              {"d", Dtype::i8, nullptr, quantized.data(), 6}};
  write_tensors(path, header, 4, tensors, [] {});
  const StoredTensor a{"a", path, Dtype::f32, {2, 3}, 4, 24}, b{"b", path, Dtype::f16, {6}, 28, 12},
      c{"c", path, Dtype::bf16, {6}, 40, 12}, d{"d", path, Dtype::i8, {2, 3}, 52, 6};
  {
    TensorReader reader;
    std::vector<float> found(6);
    reader.read_floats(a, found.data());
    for (size_t i = 0; i < 6; ++i) CHECK_EQUAL(found[i], values[i]);
    reader.read_floats(b, found.data());
    for (size_t i = 0; i < 6; ++i) CHECK_NEAR(found[i], values[i], 1e-3);
    reader.read_floats(c, found.data());
    for (size_t i = 0; i < 6; ++i) CHECK_NEAR(found[i], values[i], 4e-3);
    StoredTensor scale = a;
    scale.shape = {2, 1};
    scale.bytes = 8;
    reader.read_parameter({d, true, scale}, found.data());
    CHECK_EQUAL(found[0], -127.0f);
    CHECK_EQUAL(found[3], -2.5f * 127);

    CHECK_EQUAL(error_code([&] { reader.read_floats(d, found.data()); }), std::string("BAD_CHECKPOINT"));
    CHECK_EQUAL(error_code([&] { reader.read_parameter({d, true, a}, found.data()); }), std::string("BAD_CHECKPOINT"));
    StoredTensor wrong = d;
    wrong.offset = 54;
    CHECK_EQUAL(error_code([&] { reader.read(wrong, found.data()); }), std::string("BAD_CHECKPOINT"));
    wrong = a;
    wrong.bytes = 20;
    CHECK_EQUAL(error_code([&] { reader.read(wrong, found.data()); }), std::string("BAD_CHECKPOINT"));
    wrong.file = path + "-missing";
    wrong.bytes = 24;
    CHECK_EQUAL(error_code([&] { reader.read(wrong, found.data()); }), std::string("IO"));
  }
  CHECK_EQUAL(error_code([&] { write_tensors(path, header, 4, tensors, [] {}); }), std::string("IO"));
  std::remove(path.c_str());

  const std::vector<float> large = {1e6f};
  const std::vector<TensorToWrite> overflow = {{"large", Dtype::f16, large.data(), nullptr, 1}};
  CHECK_EQUAL(error_code([&] { write_tensors(path, header, 4, overflow, [] {}); }), std::string("BAD_OPTION"));
  CHECK(access(path.c_str(), F_OK) != 0);
  const auto abort = [] { throw Error("ABORTED", "on purpose"); };
  CHECK_EQUAL(error_code([&] { write_tensors(path, header, 4, tensors, abort); }), std::string("ABORTED"));
  CHECK(access(path.c_str(), F_OK) != 0);
}
