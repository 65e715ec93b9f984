#include "ops/weight_rows.h"

#include <cmath>

namespace whittle {

namespace {

constexpr float kCoarser = 1.07f;
constexpr int64_t kFewest = 64;  // elements that tell what a row is

// Whether what rounding took away, in steps, is neither nothing nor spread evenly over [-1/2, 1/2], whose mean square
// is 1/12. Small multiples of the step are left out: the tails of a row with few large weights are spread unevenly too.
bool is_near_grid(const float* w, const int8_t* q, int64_t k, float scale) {
  double sum = 0;
  int64_t count = 0;
  for (int64_t c = 0; c < k; ++c) {
    if (q[c] > -2 && q[c] < 2) continue;
    const double off = static_cast<double>(w[c]) / scale - q[c];
    sum += off * off;
    ++count;
  }
  if (count < kFewest) return false;
  const double mean = sum / count;
  // Six standard deviations of the mean of that many squares.
  return mean > 2.5e-5 && mean < 1.0 / 12 - 6 * 0.0745 / std::sqrt(static_cast<double>(count));
}

}  // namespace

void quantize_weight_rows(const KernelTable& kernels, const float* w, int64_t rows, int64_t k, int8_t* q,
                          int64_t q_stride, float* scales) {
  kernels.quantize_rows_s8(w, k, rows, k, q, q_stride, scales);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = w + r * k;
    int8_t* rounded = q + r * q_stride;
    if (!is_near_grid(row, rounded, k, scales[r])) continue;
    scales[r] *= kCoarser;
    for (int64_t c = 0; c < k; ++c) rounded[c] = static_cast<int8_t>(std::nearbyint(row[c] / scales[r]));
  }
}

}  // namespace whittle
