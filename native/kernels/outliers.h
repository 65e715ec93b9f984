// What decides whether a row has outliers, the same for every ISA; see KernelTable::find_outliers.
#pragma once

namespace whittle {

inline constexpr int kMostOutliers = 8;

// Static, so that no ISA's code stands in for another's; constexpr, so that nvcc takes it too. `largest` and `next`, the (most + 1)-th largest, are
// magnitudes. True if the row has outliers, those above *limit.
static constexpr bool outlier_limit(float largest, float next, float* limit) {
  const float least = largest / 8000.0f;  // keeps the integers of outliers below 2^20
  *limit = next > least ? next : least;
  if (largest >= 1e-36f && *limit >= 1e-36f && largest > 1.5f * *limit) return true;
  *limit = largest;
  return false;
}

}  // namespace whittle
