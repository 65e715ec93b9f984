#include "ops/weight_rows.h"

#include <cmath>

#include "kernels/weight_grid.h"

namespace whittle {

namespace {

bool is_near_grid(const float* w, const int8_t* q, int64_t k, float scale) {
  WeightSum sum;
  int64_t count = 0;
  for (int64_t c = 0; c < k; ++c) {
    if (q[c] > -2 && q[c] < 2) continue;
    const double off = static_cast<double>(w[c]) / scale - q[c];
    sum.lanes[c % 32] += off * off;
    ++count;
  }
  return near_grid(sum.total(), count);
}

}  // namespace

void quantize_weight_rows(const KernelTable& kernels, const float* w, int64_t rows, int64_t k, int8_t* q,
                          int64_t q_stride, float* scales) {
  kernels.quantize_rows_s8(w, k, rows, k, q, q_stride, scales);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = w + r * k;
    int8_t* rounded = q + r * q_stride;
    if (!is_near_grid(row, rounded, k, scales[r])) continue;
    scales[r] *= kCoarserGrid;
    for (int64_t c = 0; c < k; ++c) rounded[c] = static_cast<int8_t>(std::nearbyint(row[c] / scales[r]));
  }
}

}  // namespace whittle
