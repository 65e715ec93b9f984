// The outliers of one row, see kernels/outliers.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/masks.h"
#include "kernels/outliers.h"

namespace whittle::avx2 {

namespace {

inline __m256 magnitudes(const float* x, int64_t left) {
  const __m256 values = left >= 8 ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, first_lanes(left));
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), values);
}

// The largest magnitude and the `count`-th largest.
template <int count>
void largest_two(const float* x, int64_t cols, float* largest, float* next) {
  __m256 top[count];  // of each lane, largest first
  for (__m256& one : top) one = _mm256_setzero_ps();
  for (int64_t c = 0; c < cols; c += 8) {
    __m256 values = magnitudes(x + c, cols - c);
    // Past the first few columns few vectors hold anything that its lane must keep.
    if (_mm256_movemask_ps(_mm256_cmp_ps(values, top[count - 1], _CMP_GT_OQ)) == 0) continue;
    for (int i = 0; i < count; ++i) {
      const __m256 larger = _mm256_max_ps(top[i], values);
      values = _mm256_min_ps(top[i], values);
      top[i] = larger;
    }
  }
  float lanes[count][8];
  int taken[8] = {};  // of each lane
  for (int i = 0; i < count; ++i) _mm256_storeu_ps(lanes[i], top[i]);
  for (int i = 0; i < count; ++i) {
    int best = -1;
    for (int lane = 0; lane < 8; ++lane) {
      if (taken[lane] < count && (best < 0 || lanes[taken[lane]][lane] > lanes[taken[best]][best])) best = lane;
    }
    *next = lanes[taken[best]++][best];
    if (i == 0) *largest = *next;
  }
}

inline int find_outliers(const float* x, int64_t cols, int most, float* limit, int32_t* columns) {
  using Find = void (*)(const float*, int64_t, float*, float*);
  constexpr Find find[] = {largest_two<1>, largest_two<2>, largest_two<3>, largest_two<4>, largest_two<5>,
                           largest_two<6>, largest_two<7>, largest_two<8>, largest_two<9>};
  static_assert(sizeof(find) / sizeof(find[0]) == kMostOutliers + 1);
  float largest, next;
  find[most](x, cols, &largest, &next);
  *limit = largest;
  if (cols <= most || !outlier_limit(largest, next, limit)) return 0;
  const __m256 bound = _mm256_set1_ps(*limit);
  int found = 0;
  for (int64_t c = 0; c < cols; c += 8) {
    const __m256 compared = _mm256_cmp_ps(magnitudes(x + c, cols - c), bound, _CMP_GT_OQ);
    uint32_t above = static_cast<uint32_t>(_mm256_movemask_ps(compared));
    for (; above; above &= above - 1) columns[found++] = static_cast<int32_t>(c) + __builtin_ctz(above);
  }
  return found;
}

}  // namespace

}  // namespace whittle::avx2
