// The outliers of one row, see kernels/outliers.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/outliers.h"

namespace whittle::avx512 {

namespace {

inline __m512 magnitudes(const float* x, int64_t left) {
  const __mmask16 lanes = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
  return _mm512_abs_ps(_mm512_maskz_loadu_ps(lanes, x));
}

// The `count` largest magnitudes of each lane, largest first.
template <int count>
struct Lanes {
  __m512 top[count];

  void insert(__m512 values) {
    for (int i = 0; i < count; ++i) {
      const __m512 larger = _mm512_max_ps(top[i], values);
      values = _mm512_min_ps(top[i], values);
      top[i] = larger;
    }
  }

  // Takes the largest of all lanes out.
  float pop() {
    const float largest = _mm512_reduce_max_ps(top[0]);
    const uint32_t equal = _mm512_cmp_ps_mask(top[0], _mm512_set1_ps(largest), _CMP_EQ_OQ);
    const __mmask16 lane = static_cast<__mmask16>(equal & (~equal + 1));
    for (int i = 0; i + 1 < count; ++i) top[i] = _mm512_mask_mov_ps(top[i], lane, top[i + 1]);
    top[count - 1] = _mm512_mask_mov_ps(top[count - 1], lane, _mm512_setzero_ps());
    return largest;
  }
};

// The largest magnitude and the `count`-th largest.
template <int count>
void largest_two(const float* x, int64_t cols, float* largest, float* next) {
  Lanes<count> lanes;
  for (__m512& one : lanes.top) one = _mm512_setzero_ps();
  int64_t c = 0;
  for (; c + 64 <= cols; c += 64) {
    const __m512 v0 = magnitudes(x + c, 16), v1 = magnitudes(x + c + 16, 16);
    const __m512 v2 = magnitudes(x + c + 32, 16), v3 = magnitudes(x + c + 48, 16);
    const __m512 most = _mm512_max_ps(_mm512_max_ps(v0, v1), _mm512_max_ps(v2, v3));
    // Past the first few columns few blocks hold anything that its lane must keep.
    if (_mm512_cmp_ps_mask(most, lanes.top[count - 1], _CMP_GT_OQ) == 0) continue;
    lanes.insert(v0);
    lanes.insert(v1);
    lanes.insert(v2);
    lanes.insert(v3);
  }
  for (; c < cols; c += 16) lanes.insert(magnitudes(x + c, cols - c));
  *largest = *next = lanes.pop();
  for (int i = 1; i < count; ++i) *next = lanes.pop();
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
  const __m512 bound = _mm512_set1_ps(*limit);
  int found = 0;
  for (int64_t c = 0; c < cols; c += 16) {
    uint32_t above = _mm512_cmp_ps_mask(magnitudes(x + c, cols - c), bound, _CMP_GT_OQ);
    for (; above; above &= above - 1) columns[found++] = static_cast<int32_t>(c) + __builtin_ctz(above);
  }
  return found;
}

}  // namespace

}  // namespace whittle::avx512
