// One row of activations as bytes; see KernelTable::quantize_rows_u8.
#pragma once

#include <cmath>

#include "kernels/kernel_table.h"
#include "kernels/ref/find_outliers.h"

namespace whittle::ref {

namespace {

inline void quantize_row_u8(const float* x, int64_t cols, int most, uint8_t* q, float* scale, RowOutliers* outliers) {
  float limit = 0;
  int count = 0;
  if (most > 0) {
    count = find_outliers(x, cols, most, &limit, outliers->columns);
    outliers->count = count;
  } else {
    for (int64_t c = 0; c < cols; ++c) limit = std::fabs(x[c]) > limit ? std::fabs(x[c]) : limit;
  }
  const bool zeros = limit < 1e-36f;
  const float inverse = zeros ? 0.0f : 127.0f / limit;
  *scale = zeros ? 0.0f : limit / 127.0f;
  // nearbyint rounds half to even, as the vector conversions do.
  const auto whole = [&](int64_t c) { return static_cast<int32_t>(std::nearbyintf(x[c] * inverse)); };
  const auto limited = [](int32_t value) { return value > 127 ? 127 : value < -128 ? -128 : value; };
  for (int64_t c = 0; c < cols; ++c) q[c] = static_cast<uint8_t>(limited(whole(c)) + 128);
  for (int64_t c = cols; c < padded_k(cols); ++c) q[c] = 128;
  for (int i = 0; i < count; ++i) {
    const int32_t value = whole(outliers->columns[i]);
    outliers->values[i] = value - limited(value);
  }
}

}  // namespace

}  // namespace whittle::ref
