// Elements of an activation row that would cost all others their precision: LayerNorm has a few channels that are large
// for every token. They stay integers of the row's scale beyond int8, so that products stay exact (after Dettmers et
// al. 2022, LLM.int8(), section 3.2, which keeps whole columns in float16).
//
// The limit of a row is the (most + 1)-th largest |x|, or a 256th of the largest if that is more; its outliers are the
// columns where |x| > limit. A row whose largest |x| is at most 1.5 times the limit, or below 1e-36, or that has no
// more than `most` columns has no outliers, and its limit is its largest |x|.
#pragma once

#include <cstdint>

namespace whittle {

inline constexpr int kMostOutliers = 8;

// Element columns[i] of the row is values[i] more than its int8; columns ascend, |values[i]| < 2^15.
struct RowOutliers {
  int32_t count;
  int32_t columns[kMostOutliers];
  int32_t values[kMostOutliers];
};

inline constexpr float kMostOutlierRatio = 256.0f;  // products take outliers as int16

// Static, so that no ISA's code stands in for another's; constexpr, so that nvcc takes it too. `largest` and `next`, the
// (most + 1)-th largest, are magnitudes. True if the row has outliers, those above *limit.
static constexpr bool outlier_limit(float largest, float next, float* limit) {
  const float least = largest / kMostOutlierRatio;
  *limit = next > least ? next : least;
  if (largest >= 1e-36f && *limit >= 1e-36f && largest > 1.5f * *limit) return true;
  *limit = largest;
  return false;
}

}  // namespace whittle
