// The oracle is the definition in double precision: after each column, the inverse of the remaining gram matrix says
// how the remaining columns make up for the error (Frantar et al. 2023, equation 2).
#include "compress/compensated_rounding.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cpu/error.h"
#include "test/buffers.h"
#include "test/test.h"

using namespace whittle;

namespace {

using Doubles = std::vector<double>;

// Gauss-Jordan without pivoting: the matrix is positive definite.
Doubles inverted(Doubles a, int64_t n) {
  Doubles inverse(n * n);
  for (int64_t i = 0; i < n; ++i) inverse[i * n + i] = 1;
  for (int64_t i = 0; i < n; ++i) {
    const double pivot = a[i * n + i];
    for (int64_t j = 0; j < n; ++j) {
      a[i * n + j] /= pivot;
      inverse[i * n + j] /= pivot;
    }
    for (int64_t r = 0; r < n; ++r) {
      if (r == i) continue;
      const double factor = a[r * n + i];
      for (int64_t j = 0; j < n; ++j) {
        a[r * n + j] -= factor * a[i * n + j];
        inverse[r * n + j] -= factor * inverse[i * n + j];
      }
    }
  }
  return inverse;
}

// Rounds one row, its heaviest inputs first.
std::vector<int> rounded_by_definition(const float* w, const std::vector<float>& gram, int64_t n, float scale) {
  double trace = 0;
  for (int64_t i = 0; i < n; ++i) trace += gram[i * n + i];
  std::vector<int64_t> open(n);
  std::iota(open.begin(), open.end(), int64_t{0});
  std::stable_sort(open.begin(), open.end(), [&](int64_t a, int64_t b) { return gram[a * n + a] < gram[b * n + b]; });
  Doubles left(w, w + n);
  std::vector<int> q(n);
  while (!open.empty()) {
    const int64_t m = static_cast<int64_t>(open.size()), column = open.back();
    Doubles rest(m * m);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < m; ++j)
        rest[i * m + j] = gram[open[i] * n + open[j]] + (i == j ? 0.01 * trace / static_cast<double>(n) : 0);
    const Doubles inverse = inverted(rest, m);
    q[column] = static_cast<int>(std::clamp(std::nearbyint(left[column] / scale), -127.0, 127.0));
    const double error = (left[column] - q[column] * static_cast<double>(scale)) / inverse[m * m - 1];
    for (int64_t i = 0; i < m; ++i) left[open[i]] -= error * inverse[(m - 1) * m + i];
    open.pop_back();
  }
  return q;
}

// Inputs that hang together, one of them large, and their gram matrix.
struct Inputs {
  std::vector<float> gram;
  Inputs(std::mt19937_64& random, int64_t count, int64_t n) : gram(n * n) {
    const std::vector<float> mixing = test::random_floats(random, n * n, 0.3f);
    for (int64_t i = 0; i < count; ++i) {
      std::vector<float> x = test::random_floats(random, n);
      for (int64_t j = n - 1; j > 0; --j)
        for (int64_t l = 0; l < j; ++l) x[j] += mixing[j * n + l] * x[l];
      x[n / 2] += 20;
      for (int64_t a = 0; a < n; ++a)
        for (int64_t b = 0; b < n; ++b) gram[a * n + b] += x[a] * x[b];
    }
  }
};

struct Result {
  std::vector<int8_t> q;
  std::vector<float> scales;
  double relative_error;
};

Result quantize(const std::vector<float>& w, const std::vector<float>& gram, int64_t rows, int64_t cols, bool plain,
                int threads = 1, const KernelTable& table = kernels()) {
  Arena arena;
  const Context context{table, ThreadPool::instance(), threads, arena};
  Result result{std::vector<int8_t>(rows * cols), std::vector<float>(rows), 0};
  const QuantizedWeight done =
      plain ? quantize_weight("weight", w.data(), rows, cols, result.q.data(), result.scales.data(), context)
            : quantize_weight_compensated("weight", w.data(), gram.data(), rows, cols, result.q.data(),
                                          result.scales.data(), context);
  result.relative_error = done.relative_error;
  return result;
}

// Squared norm of x (w - q scale)^T over the calibration inputs.
double product_error(const std::vector<float>& w, const Result& result, const std::vector<float>& gram, int64_t rows,
                     int64_t cols) {
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    Doubles error(cols);
    for (int64_t c = 0; c < cols; ++c)
      error[c] = w[r * cols + c] - static_cast<double>(result.q[r * cols + c]) * result.scales[r];
    for (int64_t a = 0; a < cols; ++a)
      for (int64_t b = 0; b < cols; ++b) sum += error[a] * gram[a * cols + b] * error[b];
  }
  return sum;
}

}  // namespace

TEST(compensated_rounding, equals_the_definition) {
  for (int64_t cols : {1, 2, 17, 64, 65, 80}) {
    const int64_t rows = 19;
    auto random = test::generator(cols);
    const std::vector<float> w = test::random_floats(random, rows * cols, 0.05f);
    const Inputs inputs(random, 3 * cols, cols);
    const Result actual = quantize(w, inputs.gram, rows, cols, false);
    int64_t different = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const std::vector<int> expected = rounded_by_definition(&w[r * cols], inputs.gram, cols, actual.scales[r]);
      for (int64_t c = 0; c < cols; ++c) different += expected[c] != actual.q[r * cols + c];
    }
    // A value near the middle of two integers may fall to either side, and the columns after it follow.
    if (different * 100 > rows * cols) WHITTLE_FAIL(different << " of " << rows * cols << " differ, cols " << cols);
  }
}

TEST(compensated_rounding, products_are_nearer_than_with_plain_rounding) {
  const int64_t rows = 48, cols = 200;
  auto random = test::generator(5);
  const std::vector<float> w = test::random_floats(random, rows * cols, 0.05f);
  const Inputs inputs(random, 150, cols);  // fewer inputs than columns: only damping makes it invertible
  const Result plain = quantize(w, inputs.gram, rows, cols, true);
  const Result compensated = quantize(w, inputs.gram, rows, cols, false);
  for (int64_t r = 0; r < rows; ++r)
    CHECK(compensated.scales[r] <= plain.scales[r] && compensated.scales[r] > 0.59f * plain.scales[r]);
  CHECK(plain.relative_error < compensated.relative_error);
  const double before = product_error(w, plain, inputs.gram, rows, cols);
  const double after = product_error(w, compensated, inputs.gram, rows, cols);
  if (!(after < 0.5 * before)) WHITTLE_FAIL("error of the products " << after << ", with plain rounding " << before);
}

TEST(compensated_rounding, a_large_weight_of_a_small_input_is_cut_for_the_sake_of_the_others) {
  const int64_t cols = 128;
  auto random = test::generator(8);
  std::vector<float> w = test::random_floats(random, 2 * cols, 0.05f);
  w[3] = w[cols + 3] = 0.6f;
  std::vector<float> gram(cols * cols);
  for (int64_t c = 0; c < cols; ++c) gram[c * cols + c] = c == 3 ? 0.0f : 1.0f;
  // The second row is two steps of training away from the grid of its largest weight.
  for (int64_t c = 0; c < cols; ++c) {
    const float step = 0.6f / 127;
    w[cols + c] = (std::nearbyint(w[cols + c] / step) + (c % 2 ? 0.08f : -0.08f)) * step;
  }
  w[cols + 3] = 0.6f;
  const Result plain = quantize(w, gram, 2, cols, true), compensated = quantize(w, gram, 2, cols, false);
  CHECK(compensated.scales[0] < 0.97f * plain.scales[0]);
  CHECK_EQUAL(compensated.scales[1], plain.scales[1]);
}

TEST(compensated_rounding, is_the_same_for_any_number_of_threads) {
  const int64_t rows = 70, cols = 130;
  auto random = test::generator(6);
  const std::vector<float> w = test::random_floats(random, rows * cols, 0.05f);
  const Inputs inputs(random, 300, cols);
  const Result one = quantize(w, inputs.gram, rows, cols, false, 1);
  for (int threads : {2, 3, 4}) CHECK(quantize(w, inputs.gram, rows, cols, false, threads).q == one.q);
}

TEST(compensated_rounding, inputs_that_never_vary_and_rows_of_zeros_are_rounded_plainly) {
  const int64_t rows = 3, cols = 20;
  auto random = test::generator(7);
  std::vector<float> w = test::random_floats(random, rows * cols, 0.05f);
  std::fill(w.begin() + cols, w.begin() + 2 * cols, 0.0f);
  const std::vector<float> gram(cols * cols);
  const Result plain = quantize(w, gram, rows, cols, true), compensated = quantize(w, gram, rows, cols, false);
  CHECK_EQUAL(compensated.scales[1], plain.scales[1]);
  for (int64_t i = 0; i < rows * cols; ++i) {
    const float scale = compensated.scales[i / cols];
    CHECK_EQUAL(static_cast<float>(compensated.q[i]), std::clamp(std::nearbyint(w[i] / scale), -127.0f, 127.0f));
  }
}

TEST(compensated_rounding, refuses_inputs_that_are_not_finite) {
  std::vector<float> gram(16, 1);
  gram[5] = std::numeric_limits<float>::quiet_NaN();
  try {
    quantize(std::vector<float>(16, 1), gram, 4, 4, false);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("calibration inputs of tensor \"weight\"") != std::string::npos);
    return;
  }
  WHITTLE_FAIL("a NaN was taken");
}
