// The encoder layer against a reference in double: outputs, gradients by central differences, frozen parts, threads.
#include "training/transformer_block.h"

#include "test/block_reference.h"
#include "test/buffers.h"
#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr int kTensors = 18;  // the parameters (the last one the position bias), and x
constexpr size_t kX = 17;

struct Case {
  std::vector<int32_t> offsets;
  ReferenceBlock reference;
  std::vector<std::vector<float>> values;  // parameters and x
  std::vector<float> dy;

  Case(std::vector<int64_t> lengths, int64_t hidden, int64_t heads, int64_t intermediate, float dropout,
       uint64_t stream, int64_t max_distance = 0) {
    offsets.push_back(0);
    for (int64_t length : lengths) offsets.push_back(offsets.back() + static_cast<int32_t>(length));
    reference.shape = {offsets.data(), static_cast<int64_t>(lengths.size()), hidden, heads, intermediate, max_distance};
    reference.options = {1e-5f, dropout, dropout, 77, 5, 3, Precision::float32};
    auto random = generator(stream);
    const std::vector<int64_t> sizes = reference.sizes();
    for (int i = 0; i < kTensors; ++i) {
      values.push_back(random_floats(random, sizes[static_cast<size_t>(i)], i >= 16 ? 1.0f : 0.15f));
      if (i == 8 || i == 14) {
        for (float& gamma : values.back()) gamma += 1;
      }
    }
    dy = random_floats(random, reference.shape.tokens() * hidden);
  }
  Case(const Case&) = delete;

  BlockTensors<const float> parameters() const {
    BlockTensors<const float> tensors;
    const float** fields = reinterpret_cast<const float**>(&tensors);
    for (size_t i = 0; i < kX; ++i) fields[i] = values[i].empty() ? nullptr : values[i].data();
    return tensors;
  }
};

struct Result {
  std::vector<float> y;
  std::vector<std::vector<float>> gradients;  // as Case::values
};

// wanted: bit i for gradient i, bit 17 for dx.
Result run(const Case& given, const KernelTable& table, Precision precision, int threads, uint32_t wanted = 0x3ffff,
           const BlockPacked& packed = {}) {
  Arena arena;
  const Context context{table, ThreadPool::instance(), threads, arena};
  BlockOptions options = given.reference.options;
  options.precision = precision;
  const BlockShape& shape = given.reference.shape;
  std::vector<float> saved(static_cast<size_t>(block_saved_floats(shape, shape.tokens(), precision, table)),
                           poison<float>());
  Result result;
  result.y.assign(given.dy.size(), poison<float>());
  transformer_block_forward(shape, options, given.parameters(), packed, given.values[kX].data(), result.y.data(),
                            saved.data(), context);
  BlockTensors<float> gradients{};
  float** fields = reinterpret_cast<float**>(&gradients);
  for (size_t i = 0; i < kTensors; ++i) {
    result.gradients.emplace_back(given.values[i].size(), poison<float>());
    if (i < kX && !given.values[i].empty() && (wanted >> i & 1)) fields[i] = result.gradients[i].data();
  }
  transformer_block_backward(shape, options, given.parameters(), packed, given.values[kX].data(), saved.data(),
                             given.dy.data(), wanted >> kX & 1 ? result.gradients[kX].data() : nullptr, gradients,
                             context);
  return result;
}

double length_of(const Doubles& vector) {
  double squares = 0;
  for (double value : vector) squares += value * value;
  return std::sqrt(squares);
}

// ||actual - expected|| / max(||expected||, floor)
double relative_error(Doubles actual, const Doubles& expected, double floor) {
  for (size_t i = 0; i < actual.size(); ++i) actual[i] -= expected[i];
  return length_of(actual) / std::max(length_of(expected), floor);
}

struct Expected {
  Doubles y;
  std::vector<std::vector<size_t>> elements;  // that were checked, of each tensor
  std::vector<Doubles> gradients;             // of sum(y * dy) by them
};

Expected expectation(const Case& given) {
  std::vector<Doubles> values;
  for (const auto& tensor : given.values) values.emplace_back(tensor.begin(), tensor.end());
  Expected expected;
  expected.y = given.reference.forward(values);
  auto random = generator(5);
  const auto loss = [&] {
    const Doubles y = given.reference.forward(values);
    double total = 0;
    for (size_t i = 0; i < y.size(); ++i) total += y[i] * given.dy[i];
    return total;
  };
  for (Doubles& tensor : values) {
    expected.elements.emplace_back();
    expected.gradients.emplace_back();
    if (tensor.empty()) continue;
    for (int sample = 0; sample < 24; ++sample) {
      const size_t i = random() % tensor.size();
      const double value = tensor[i], step = 1e-5;
      tensor[i] = value + step;
      const double above = loss();
      tensor[i] = value - step;
      const double below = loss();
      tensor[i] = value;
      expected.elements.back().push_back(i);
      expected.gradients.back().push_back((above - below) / (2 * step));
    }
  }
  return expected;
}

void check_gradients(const Case& given, const Expected& expected, const Result& result, double bound,
                     const std::string& what) {
  const double output_error = relative_error({result.y.begin(), result.y.end()}, expected.y, 0);
  if (!(output_error <= bound)) WHITTLE_FAIL(what << ": relative error of y is " << output_error);
  for (size_t tensor = 0; tensor < kTensors; ++tensor) {
    Doubles actual;
    for (size_t i : expected.elements[tensor]) actual.push_back(result.gradients[tensor][i]);
    // Gradients that are 0 come out as rounding errors: that of the key bias (softmax does not see a shift of all keys)
    // as large as those of the query bias, and both where sequences have a single token.
    const double floor = tensor == 3 ? length_of(expected.gradients[1]) : 0;
    const double error = relative_error(actual, expected.gradients[tensor], std::max(floor, 1e-2));
    if (!(error <= bound)) WHITTLE_FAIL(what << ": relative error of gradient " << tensor << " is " << error);
  }
}

}  // namespace

TEST(transformer_block, gradients_agree_with_central_differences) {
  struct Shape {
    std::vector<int64_t> lengths;
    int64_t hidden, heads, intermediate, max_distance;
  };
  const Shape shapes[] = {{{5, 1, 17, 9}, 24, 3, 40, 0}, {{33}, 32, 1, 65, 0},           {{1}, 16, 2, 7, 0},
                          {{64, 3}, 64, 2, 96, 0},       {{5, 1, 17, 9}, 24, 3, 40, 20}, {{33, 2}, 32, 2, 65, 33}};
  for (const Shape& shape : shapes) {
    for (float dropout : {0.0f, 0.25f}) {
      const Case given(shape.lengths, shape.hidden, shape.heads, shape.intermediate, dropout, 31, shape.max_distance);
      const Expected expected = expectation(given);
      for (const KernelVariant& variant : kernel_variants()) {
        const std::string what = variant.name + ", hidden " + std::to_string(shape.hidden) + ", most distance " +
                                 std::to_string(shape.max_distance) + ", dropout " + std::to_string(dropout);
        check_gradients(given, expected, run(given, *variant.table, Precision::float32, 2), 1e-4, what);
        // bf16 has 8 bits: products of rounded operands agree to about 2^-8 times a small factor.
        check_gradients(given, expected, run(given, *variant.table, Precision::bfloat16, 2), 4e-2, what + ", bf16");
      }
    }
  }
}

TEST(transformer_block, results_do_not_depend_on_the_number_of_threads) {
  const Case given({70, 128, 1, 300, 33, 64, 5}, 48, 4, 130, 0.1f, 32, 310);
  for (const KernelVariant& variant : kernel_variants()) {
    if (variant.table->isa == Isa::ref) continue;
    for (Precision precision : {Precision::float32, Precision::bfloat16}) {
      const Result one = run(given, *variant.table, precision, 1);
      for (int threads : {2, 3, 4}) {
        const Result several = run(given, *variant.table, precision, threads);
        CHECK(one.y == several.y);
        CHECK(one.gradients == several.gradients);
      }
    }
  }
}

TEST(transformer_block, frozen_parameters_are_left_alone_and_change_nothing_else) {
  const Case given({5, 12}, 16, 2, 24, 0.1f, 33, 14);
  const Result all = run(given, kernels(), Precision::float32, 2);
  for (int kept = 0; kept <= kTensors; ++kept) {
    const Result one = run(given, kernels(), Precision::float32, 2, kept < kTensors ? 1u << kept : 0);
    CHECK(one.y == all.y);
    for (int i = 0; i < kTensors; ++i) {
      const auto& gradient = one.gradients[static_cast<size_t>(i)];
      if (i == kept) CHECK(gradient == all.gradients[static_cast<size_t>(i)]);
      if (i != kept) {
        for (float value : gradient) CHECK(std::isnan(value));
      }
    }
  }
}

TEST(transformer_block, forward_without_saving_gives_the_same) {
  const Case given({5, 12}, 16, 2, 24, 0.0f, 34);
  const Result all = run(given, kernels(), Precision::float32, 2);
  Arena arena;
  const Context context{kernels(), ThreadPool::instance(), 2, arena};
  std::vector<float> y(given.dy.size());
  transformer_block_forward(given.reference.shape, given.reference.options, given.parameters(), {},
                            given.values[kX].data(), y.data(), nullptr, context);
  CHECK(y == all.y);
}

TEST(transformer_block, packed_weights_are_read_in_place_of_the_weights) {
  const Case given({70, 1, 33}, 48, 4, 130, 0.1f, 35);
  for (const KernelVariant& variant : kernel_variants()) {
    const KernelTable& table = *variant.table;
    if (!table.native_bf16) continue;
    std::vector<AlignedBuffer> buffers;
    BlockPacked packed;
    const auto pack = [&](PackedForms& weight, size_t index, int64_t n, int64_t k) {
      const std::vector<float>& values = given.values[index];
      buffers.emplace_back(static_cast<size_t>(PackedForms::floats(n, k, table)) * sizeof(float));
      weight = PackedForms::within(buffers.back().as<float>(), n, k, table);
      table.pack_weight_bf16(values.data(), n, k, 0, n, weight.own, weight.transposed);
    };
    pack(packed.query, 0, 48, 48);
    pack(packed.key, 2, 48, 48);
    pack(packed.value, 4, 48, 48);
    pack(packed.attention_output, 6, 48, 48);
    pack(packed.intermediate, 10, 130, 48);
    pack(packed.output, 12, 48, 130);
    const Result expected = run(given, table, Precision::bfloat16, 2);
    Case unread({70, 1, 33}, 48, 4, 130, 0.1f, 35);
    for (size_t index : {0, 2, 4, 6, 10, 12}) {
      for (float& value : unread.values[index]) value = poison<float>();
    }
    const Result actual = run(unread, table, Precision::bfloat16, 2, 0x3ffff, packed);
    if (actual.y != expected.y) WHITTLE_FAIL(variant.name << ": the output differs");
    if (actual.gradients != expected.gradients) WHITTLE_FAIL(variant.name << ": gradients differ");
  }
}
