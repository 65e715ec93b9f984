// The optimizer over many tensors: against AdamW as its paper writes it, masks, threads.
#include "ops/adamw.h"

#include <cmath>
#include <cstring>

#include "test/buffers.h"
#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Tensors {
  std::vector<std::vector<float>> parameters, first, second;

  explicit Tensors(const std::vector<int64_t>& counts) {
    auto random = generator(71);
    for (int64_t count : counts) {
      parameters.push_back(random_floats(random, count));
      first.push_back(std::vector<float>(static_cast<size_t>(count)));
      second.push_back(first.back());
    }
  }
  bool operator==(const Tensors&) const = default;
};

AdamwTensor tensor(Tensors& tensors, size_t i, const Gradient& gradient, int64_t step) {
  return {tensors.parameters[i].data(),
          tensors.first[i].data(),
          tensors.second[i].data(),
          gradient,
          nullptr,
          0.01f * static_cast<float>(i + 1),
          i == 0 ? 0.0f : 0.1f,
          step};
}

Gradient dense(const std::vector<float>& gradient) {
  return {gradient.data(), static_cast<int64_t>(gradient.size())};
}

}  // namespace

TEST(adamw, several_steps_agree_with_the_paper_for_any_number_of_threads) {
  const std::vector<int64_t> counts = {5, 1, 40000, 561, 16384};
  std::vector<std::vector<std::vector<float>>> gradients;  // by step and tensor
  auto random = generator(72);
  for (int step = 0; step < 4; ++step) {
    gradients.emplace_back();
    for (int64_t count : counts) gradients.back().push_back(random_floats(random, count));
  }
  const AdamwOptions options{0.9, 0.999, 1e-8f, 0.5f};
  std::vector<Tensors> results;
  for (int threads : {1, 2, 4}) {
    Arena arena;
    const Context context{kernels(), ThreadPool::instance(), threads, arena};
    Tensors tensors(counts);
    for (size_t step = 0; step < gradients.size(); ++step) {
      std::vector<AdamwTensor> all;
      for (size_t i = 0; i < counts.size(); ++i) {
        all.push_back(tensor(tensors, i, dense(gradients[step][i]), static_cast<int64_t>(step) + 1));
      }
      adamw(all, options, context);
    }
    results.push_back(tensors);
    CHECK(results.front() == tensors);
  }
  const Tensors start(counts);
  for (size_t i = 0; i < counts.size(); ++i) {
    const double rate = 0.01 * static_cast<double>(i + 1), decay = i == 0 ? 0 : 0.1;
    for (size_t at = 0; at < static_cast<size_t>(counts[i]); at += 7) {
      double p = start.parameters[i][at], m = 0, v = 0;
      for (size_t step = 0; step < gradients.size(); ++step) {
        const double g = gradients[step][i][at] * 0.5, t = static_cast<double>(step) + 1;
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        p -= rate * (m / (1 - std::pow(0.9, t)) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8) + decay * p);
      }
      CHECK_NEAR(results[0].parameters[i][at], p, 1e-5);
    }
  }
}

TEST(adamw, masked_parameters_stay_at_zero) {
  auto random = generator(74);
  const int64_t count = 20000;
  Tensors tensors({count});
  const auto gradient = random_floats(random, count);
  std::vector<uint8_t> mask(static_cast<size_t>(count));
  for (uint8_t& kept : mask) kept = random() % 2;
  Arena arena;
  const Context context{kernels(), ThreadPool::instance(), 2, arena};
  AdamwTensor masked = tensor(tensors, 0, dense(gradient), 1);
  masked.mask = mask.data();
  adamw({masked}, {0.9, 0.999, 1e-8f, 1}, context);
  for (size_t i = 0; i < mask.size(); ++i) CHECK((tensors.parameters[0][i] == 0) == (mask[i] == 0));
}

TEST(adamw, gradient_norm_for_any_number_of_threads) {
  auto random = generator(75);
  const auto a = random_floats(random, 100001), b = random_floats(random, 3);
  double squares = 0;
  for (const auto* values : {&a, &b}) {
    for (float value : *values) squares += static_cast<double>(value) * value;
  }
  double first = 0;
  for (int threads : {1, 2, 4}) {
    Arena arena;
    const Context context{kernels(), ThreadPool::instance(), threads, arena};
    const double norm = gradient_norm({dense(a), dense(b)}, context);
    if (threads == 1) first = norm;
    CHECK_EQUAL(norm, first);
    CHECK_NEAR(norm, std::sqrt(squares), 1e-6);
  }
}

TEST(adamw, rows_without_a_gradient_change_as_with_one_of_zeros) {
  auto random = generator(76);
  const int64_t width = 37, rows = 1200;
  const std::vector<int32_t> listed = {0, 1, 2, 441, 442, 443, 900, 1199};
  std::vector<float> gradient(static_cast<size_t>(rows * width));
  for (int32_t row : listed) {
    for (int64_t c = 0; c < width; ++c) gradient[static_cast<size_t>(row * width + c)] = random_floats(random, 1)[0];
  }
  Gradient sparse = dense(gradient);
  sparse.rows = listed.data();
  sparse.row_count = static_cast<int64_t>(listed.size());
  sparse.width = width;
  Gradient none = sparse;
  none.row_count = 0;
  for (int threads : {1, 3}) {
    Arena arena;
    const Context context{kernels(), ThreadPool::instance(), threads, arena};
    Tensors whole({rows * width}), by_rows({rows * width});
    for (int64_t step = 1; step <= 3; ++step) {
      adamw({tensor(whole, 0, dense(gradient), step)}, {0.9, 0.999, 1e-8f, 0.5f}, context);
      adamw({tensor(by_rows, 0, sparse, step)}, {0.9, 0.999, 1e-8f, 0.5f}, context);
    }
    CHECK(whole == by_rows);
    CHECK_NEAR(gradient_norm({sparse}, context), gradient_norm({dense(gradient)}, context), 1e-6);
    CHECK_EQUAL(gradient_norm({none}, context), 0.0);
    const std::vector<float> zeros(gradient.size());
    adamw({tensor(whole, 0, dense(zeros), 4)}, {0.9, 0.999, 1e-8f, 0.5f}, context);
    adamw({tensor(by_rows, 0, none, 4)}, {0.9, 0.999, 1e-8f, 0.5f}, context);
    CHECK(whole == by_rows);
  }
}

TEST(adamw, packed_forms_are_those_of_the_new_parameter) {
  auto random = generator(77);
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {32, 64}, {70, 33}, {129, 384}, {300, 17}}) {
    const int64_t count = rows * columns;
    for (const auto& [name, table_of_variant] : kernel_variants()) {
      const KernelTable& table = *table_of_variant;
      Arena arena;
      const Context context{table, ThreadPool::instance(), 2, arena};
      Tensors tensors({count});
      const auto gradient = random_floats(random, count);
      std::vector<uint8_t> mask(static_cast<size_t>(count));
      for (uint8_t& kept : mask) kept = random() % 4 != 0;
      const int64_t floats = PackedForms::floats(rows, columns, table);
      AlignedBuffer buffer(static_cast<size_t>(floats + 16) * sizeof(float));
      std::fill_n(buffer.as<float>(), floats + 16, poison<float>());
      AdamwTensor packed = tensor(tensors, 0, dense(gradient), 1);
      packed.mask = mask.data();
      packed.columns = columns;
      packed.packed = PackedForms::within(buffer.as<float>(), rows, columns, table);
      adamw({packed}, {0.9, 0.999, 1e-8f, 1}, context);

      const float* w = tensors.parameters[0].data();
      const auto agrees = [&](const void* actual, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k) {
        const auto bytes = static_cast<size_t>(table.gemm_bf16.packed_bytes(n, k));
        AlignedBuffer expected(bytes);
        table.gemm_bf16.pack(w, row_stride, column_stride, n, k, 0, n, expected.as<void>());
        return std::memcmp(actual, expected.as<void>(), bytes) == 0;
      };
      if (!agrees(packed.packed.own, columns, 1, rows, columns)) WHITTLE_FAIL(name << ": the weight differs");
      if (!agrees(packed.packed.transposed, 1, columns, columns, rows)) WHITTLE_FAIL(name << ": its transpose differs");
      for (int64_t i = floats; i < floats + 16; ++i) CHECK(std::isnan(buffer.as<float>()[i]));
    }
  }
}
