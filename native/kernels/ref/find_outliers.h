// The outliers of one row, see kernels/outliers.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/outliers.h"

namespace whittle::ref {

namespace {

inline int find_outliers(const float* x, int64_t cols, int most, float* limit, int32_t* columns) {
  float top[kMostOutliers + 1] = {};  // the most + 1 largest magnitudes, largest first
  for (int64_t c = 0; c < cols; ++c) {
    float rest = std::fabs(x[c]);
    for (int i = 0; i <= most; ++i) {
      const float kept = rest > top[i] ? rest : top[i];
      rest = rest > top[i] ? top[i] : rest;
      top[i] = kept;
    }
  }
  *limit = top[0];
  if (cols <= most || !outlier_limit(top[0], top[most], limit)) return 0;
  int found = 0;
  for (int64_t c = 0; c < cols; ++c) {
    if (std::fabs(x[c]) > *limit) columns[found++] = static_cast<int32_t>(c);
  }
  return found;
}

}  // namespace

}  // namespace whittle::ref
