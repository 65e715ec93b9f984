#include "compress/compensated_rounding.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cpu/error.h"
#include "ops/gemm.h"

namespace whittle {

namespace {

// Added to the diagonal, times its mean: keeps the factorization stable where inputs never vary.
constexpr double kDamping = 0.01;
constexpr int64_t kBlock = 64;
// Rows of W that a task rounds together: they and a row of the factor stay in the second-level cache.
constexpr int64_t kRowsPerTask = 16;

// [n, n] row-major.
struct Square {
  int64_t n;
  std::vector<float> values;
  explicit Square(int64_t size) : n(size), values(static_cast<size_t>(size * size)) {}
  float* row(int64_t r) { return values.data() + r * n; }
  const float* row(int64_t r) const { return values.data() + r * n; }
};

// Columns by how much their inputs weigh, the lightest first.
std::vector<int64_t> columns_by_weight(const float* gram, int64_t n) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return gram[a * n + a] < gram[b * n + b]; });
  return order;
}

// What is added to the diagonal of the gram matrix.
double damping_of(const std::string& name, const float* gram, int64_t n) {
  double trace = 0;
  for (int64_t i = 0; i < n; ++i) trace += gram[i * n + i];
  if (!std::isfinite(trace))
    throw Error("BAD_DATA",
                "Expected finite calibration inputs of tensor \"" + name + "\" but found a NaN or infinity");
  return trace > 0 ? kDamping * trace / static_cast<double>(n) : 1;
}

// Candidates for a row's scale: (1 - i * kScaleStep) times the scale at which its largest weight is 127.
constexpr int kScales = 21;
constexpr float kScaleStep = 0.02f;

// The candidate with the least sum over c of weights[c] * (w[c] - rounded w[c])^2, weights [cols] >= 0.
float best_scale(const float* w, const float* weights, int64_t cols, float scale) {
  float best = scale;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kScales; ++i) {
    const float candidate = scale * (1 - static_cast<float>(i) * kScaleStep);
    double sum = 0;
    for (int64_t c = 0; c < cols; ++c) {
      const float rounded = std::clamp(std::nearbyint(w[c] / candidate), -127.0f, 127.0f);
      const float error = w[c] - rounded * candidate;
      sum += static_cast<double>(weights[c]) * error * error;
    }
    if (sum < least) {
      least = sum;
      best = candidate;
    }
  }
  return best;
}

// Rows whose scale is more than their largest weight asks for lie near an earlier grid (ops/weight_rows.h): those keep
// it, since a scale that meets that grid would look best and take back what was learned since.
void choose_scales(const float* w, const float* gram, double damping, int64_t rows, int64_t cols, float* scales,
                   const Context& context) {
  std::vector<float> weights(cols);
  for (int64_t c = 0; c < cols; ++c) weights[c] = gram[c * cols + c] + static_cast<float>(damping);
  context.pool.split(rows, kRowsPerTask, context.threads, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const float* row = w + r * cols;
      float largest = 0;
      for (int64_t c = 0; c < cols; ++c) largest = std::max(largest, std::fabs(row[c]));
      if (scales[r] * 127 <= 1.001f * largest) scales[r] = best_scale(row, weights.data(), cols, scales[r]);
    }
  });
}

Square damped(const float* gram, const std::vector<int64_t>& order, double damping) {
  const int64_t n = static_cast<int64_t>(order.size());
  Square result(n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) result.row(i)[j] = gram[order[i] * n + order[j]];
    result.row(i)[i] += static_cast<float>(damping);
  }
  return result;
}

// The lower Cholesky factor of rows and columns begin .. end, in place, given that what lies left of them was taken
// off.
void factor_diagonal(const std::string& name, Square& a, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t j = begin; j <= i; ++j) {
      double sum = a.row(i)[j];
      for (int64_t l = begin; l < j; ++l) sum -= static_cast<double>(a.row(i)[l]) * a.row(j)[l];
      if (i != j) {
        a.row(i)[j] = static_cast<float>(sum / a.row(j)[j]);
        continue;
      }
      if (!(sum > 0))
        throw Error("BAD_DATA", "Expected calibration inputs of tensor \"" + name + "\" that can be factorized");
      a.row(i)[i] = static_cast<float>(std::sqrt(sum));
    }
  }
}

// a = L L^T; L replaces the lower triangle, the upper one is left as it was. Right-looking, by blocks.
void cholesky(const std::string& name, Square& a, const Context& context) {
  std::vector<float> negative;
  for (int64_t begin = 0; begin < a.n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, a.n), width = end - begin, below = a.n - end;
    factor_diagonal(name, a, begin, end);
    if (below == 0) return;
    negative.resize(static_cast<size_t>(below * width));
    context.pool.split(below, 16, context.threads, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        float* row = a.row(end + r) + begin;
        for (int64_t j = 0; j < width; ++j) {
          const float* diagonal = a.row(begin + j) + begin;
          double sum = row[j];
          for (int64_t l = 0; l < j; ++l) sum -= static_cast<double>(row[l]) * diagonal[l];
          row[j] = static_cast<float>(sum / diagonal[j]);
          negative[r * width + j] = -row[j];
        }
      }
    });
    const float* panel = a.row(end) + begin;
    matmul({below, below, width, negative.data(), width, 1, panel, 1, a.n, a.row(end) + end, a.n, true},
           Precision::float32, context);
  }
}

// The inverse of the lower triangle `l`, itself lower triangular.
Square inverted_lower(const Square& l, const Context& context) {
  Square inverse(l.n);
  std::vector<float> products, negative(kBlock * kBlock);
  for (int64_t begin = 0; begin < l.n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, l.n), width = end - begin;
    for (int64_t i = 0; i < width; ++i) {
      const float* row = l.row(begin + i) + begin;
      float* out = inverse.row(begin + i) + begin;
      for (int64_t j = 0; j <= i; ++j) {
        double sum = i == j ? 1 : 0;
        for (int64_t k = j; k < i; ++k) sum -= static_cast<double>(row[k]) * inverse.row(begin + k)[begin + j];
        out[j] = static_cast<float>(sum / row[i]);
      }
    }
    if (begin == 0) continue;
    for (int64_t i = 0; i < width; ++i)
      for (int64_t j = 0; j < width; ++j) negative[i * width + j] = j <= i ? -inverse.row(begin + i)[begin + j] : 0;
    products.resize(static_cast<size_t>(width * begin));
    matmul({width, begin, begin, l.row(begin), l.n, 1, inverse.row(0), l.n, 1, products.data(), begin, false},
           Precision::float32, context);
    matmul({width, begin, width, negative.data(), width, 1, products.data(), begin, 1, inverse.row(begin), l.n, false},
           Precision::float32, context);
  }
  return inverse;
}

}  // namespace

QuantizedWeight quantize_weight_compensated(const std::string& name, const float* w, const float* gram, int64_t rows,
                                            int64_t cols, int8_t* q, float* scales, const Context& context) {
  quantize_weight(name, w, rows, cols, q, scales, context);  // the first scales; refuses what is not finite
  const double damping = damping_of(name, gram, cols);
  choose_scales(w, gram, damping, rows, cols, scales, context);
  const std::vector<int64_t> order = columns_by_weight(gram, cols);
  Square factor = damped(gram, order, damping);
  cholesky(name, factor, context);
  // With gram = L L^T, row c of L^-1 tells how columns before c make up for an error of column c.
  const Square inverse = inverted_lower(factor, context);

  std::vector<double> errors(rows), norms(rows);
  context.pool.split(rows, kRowsPerTask, context.threads, [&](int64_t first, int64_t last) {
    std::vector<float> left(static_cast<size_t>(kRowsPerTask * cols));
    for (int64_t begin = first; begin < last; begin += kRowsPerTask) {
      const int64_t count = std::min(kRowsPerTask, last - begin);
      for (int64_t r = 0; r < count; ++r)
        for (int64_t c = 0; c < cols; ++c) left[r * cols + c] = w[(begin + r) * cols + order[c]];
      for (int64_t c = cols - 1; c >= 0; --c) {
        const float* others = inverse.row(c);
        for (int64_t r = 0; r < count; ++r) {
          float* row = left.data() + r * cols;
          const float scale = scales[begin + r];
          const float rounded = std::clamp(std::nearbyint(row[c] / scale), -127.0f, 127.0f);
          q[(begin + r) * cols + order[c]] = static_cast<int8_t>(rounded);
          const float error = (row[c] - rounded * scale) / others[c];
          for (int64_t j = 0; j < c; ++j) row[j] -= error * others[j];
        }
      }
      for (int64_t r = begin; r < begin + count; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          const double value = w[r * cols + c], difference = value - static_cast<double>(q[r * cols + c]) * scales[r];
          errors[r] += difference * difference;
          norms[r] += value * value;
        }
      }
    }
  });
  const double norm = std::accumulate(norms.begin(), norms.end(), 0.0);
  return {norm > 0 ? std::sqrt(std::accumulate(errors.begin(), errors.end(), 0.0) / norm) : 0};
}

}  // namespace whittle
