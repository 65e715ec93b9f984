#include "compress/quantize_weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/error.h"
#include "kernels/weight_grid.h"
#include "ops/weight_rows.h"

namespace whittle {

namespace {

// Sums of squares of a row, in 32 lanes as on a GPU.
void squares(const float* w, const int8_t* q, float scale, int64_t cols, double* error, double* weight) {
  WeightSum errors, weights;
  for (int64_t c = 0; c < cols; ++c) {
    const double difference = w[c] - static_cast<double>(q[c]) * scale;
    errors.lanes[c % 32] += difference * difference;
    weights.lanes[c % 32] += static_cast<double>(w[c]) * w[c];
  }
  *error = errors.total();
  *weight = weights.total();
}

}  // namespace

QuantizedWeight quantize_weight(const std::string& name, const float* w, int64_t rows, int64_t cols, int8_t* q,
                                float* scales, const Context& context) {
  const int64_t stride = padded_k(cols);
  const int64_t rows_per_task = std::max<int64_t>(1, (int64_t{1} << 16) / std::max<int64_t>(stride, 1));
  const int64_t tasks = (rows + rows_per_task - 1) / rows_per_task;
  std::vector<double> errors(rows), weights(rows);
  std::vector<int8_t> padded_rows(tasks * stride);
  context.pool.run(tasks, context.threads, [&](int64_t task) {
    int8_t* padded = padded_rows.data() + task * stride;
    for (int64_t row = task * rows_per_task; row < std::min(rows, (task + 1) * rows_per_task); ++row) {
      const float* values = w + row * cols;
      quantize_weight_rows(context.kernels, values, 1, cols, padded, stride, &scales[row]);
      if (scales[row] < kLeastWeightScale) {
        scales[row] = 1;
        std::memset(padded, 0, cols);
      }
      std::memcpy(q + row * cols, padded, cols);
      squares(values, padded, scales[row], cols, &errors[row], &weights[row]);
    }
  });
  return relative_error_of(name, errors, weights);
}

QuantizedWeight relative_error_of(const std::string& name, const std::vector<double>& errors,
                                  const std::vector<double>& weights) {
  double error = 0, weight = 0;
  for (size_t row = 0; row < weights.size(); ++row) {
    if (!std::isfinite(weights[row]))
      throw Error("BAD_CHECKPOINT", "Expected finite weights to quantize but tensor \"" + name +
                                        "\" holds a NaN or infinity in row " + std::to_string(row));
    error += errors[row];
    weight += weights[row];
  }
  return {weight > 0 ? std::sqrt(error / weight) : 0};
}

}  // namespace whittle
