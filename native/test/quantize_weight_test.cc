// The oracle is the definition, in double precision; rows are independent, so odd sizes matter only at their ends.
#include "compress/quantize_weight.h"

#include <cmath>
#include <limits>
#include <vector>

#include "cpu/error.h"
#include "test/test.h"

using namespace whittle;

namespace {

struct Quantized {
  std::vector<int8_t> q;
  std::vector<float> scales;
  double relative_error;
};

Quantized quantize(const std::vector<float>& w, int64_t rows, int64_t cols, int threads, const KernelTable& table) {
  Arena arena;
  const Context context{table, ThreadPool::instance(), threads, arena};
  constexpr int8_t kSentinel = 77;
  Quantized result{std::vector<int8_t>(rows * cols + 1, kSentinel), std::vector<float>(rows + 1, -7), 0};
  result.relative_error =
      quantize_weight("weight", w.data(), rows, cols, result.q.data(), result.scales.data(), context).relative_error;
  CHECK_EQUAL(result.q.back(), kSentinel);
  CHECK_EQUAL(result.scales.back(), -7.0f);
  return result;
}

}  // namespace

TEST(quantize_weight, equals_the_definition) {
  for (int64_t cols : {1, 15, 63, 64, 65, 384, 769}) {
    const int64_t rows = 37;
    auto random = test::generator(cols);
    std::normal_distribution<float> normal(0, 0.05f);
    std::vector<float> w(rows * cols);
    for (float& value : w) value = normal(random);
    for (int64_t c = 0; c < cols; ++c) w[5 * cols + c] = 0;
    for (int isa = 0; isa < kIsaCount; ++isa) {
      const KernelTable* table = kernels_for(static_cast<Isa>(isa));
      if (!table) continue;
      for (int threads : {1, 3}) {
        const Quantized actual = quantize(w, rows, cols, threads, *table);
        double error = 0, total = 0;
        for (int64_t r = 0; r < rows; ++r) {
          float largest = 0;
          for (int64_t c = 0; c < cols; ++c) largest = std::max(largest, std::fabs(w[r * cols + c]));
          CHECK_EQUAL(actual.scales[r], r == 5 ? 1.0f : largest / 127);
          for (int64_t c = 0; c < cols; ++c) {
            const float value = w[r * cols + c];
            const int expected = r == 5 ? 0 : static_cast<int>(std::nearbyint(value * (127 / largest)));
            CHECK_EQUAL(static_cast<int>(actual.q[r * cols + c]), expected);
            const double difference = value - actual.q[r * cols + c] * static_cast<double>(actual.scales[r]);
            error += difference * difference;
            total += static_cast<double>(value) * value;
          }
        }
        CHECK_NEAR(actual.relative_error, std::sqrt(error / total), 1e-12);
      }
    }
  }
}

TEST(quantize_weight, training_that_moved_an_int8_row_by_less_than_a_step_is_kept) {
  const int64_t rows = 64, cols = 768;
  auto random = test::generator(3);
  std::normal_distribution<float> normal;
  std::vector<float> on_grid(rows * cols), trained(rows * cols);
  for (int64_t i = 0; i < rows * cols; ++i) {
    const float q = i % cols == 0 ? 127 : std::fmin(126, std::fmax(-126, std::nearbyint(32 * normal(random))));
    on_grid[i] = 0.01f * q;
    trained[i] = on_grid[i] + (i % cols == 0 ? 0 : 0.0005f * (i % 2 ? 1 : -1));  // by a twentieth of a step
  }
  const Quantized same = quantize(on_grid, rows, cols, 1, kernels());
  CHECK_NEAR(same.relative_error, 0, 1e-6);
  const Quantized moved = quantize(trained, rows, cols, 1, kernels());
  double kept = 0, wanted = 0;  // the part of the training that is left
  for (int64_t i = 0; i < rows * cols; ++i) {
    const double change = trained[i] - on_grid[i];
    kept += change * (moved.q[i] * static_cast<double>(moved.scales[i / cols]) - on_grid[i]);
    wanted += change * change;
  }
  CHECK_NEAR(kept / wanted, 1, 0.2);
  CHECK(moved.relative_error < 0.012);
  for (int isa = 0; isa < kIsaCount; ++isa) {
    const KernelTable* table = kernels_for(static_cast<Isa>(isa));
    if (table) CHECK(quantize(trained, rows, cols, 3, *table).q == moved.q);
  }
}

TEST(quantize_weight, rows_near_zero_become_zeros) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  const Quantized actual = quantize({tiny, -tiny, 0, 0, -0.0f, 0, 1e-37f, 0, 0}, 3, 3, 1, kernels());
  for (int64_t r = 0; r < 3; ++r) {
    CHECK_EQUAL(actual.scales[r], 1.0f);
    for (int64_t c = 0; c < 3; ++c) CHECK_EQUAL(static_cast<int>(actual.q[r * 3 + c]), 0);
  }
}

TEST(quantize_weight, non_finite_weights_are_named) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::string message;
    try {
      quantize({1, 2, 3, 4, bad, 6}, 3, 2, 1, kernels());
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK_EQUAL(message, "Expected finite weights to quantize but tensor \"weight\" holds a NaN or infinity in row 2");
  }
}
