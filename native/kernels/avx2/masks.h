// Masks for the last columns of a row.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace whittle::avx2 {

namespace {

// All ones in the first `columns` of 8 lanes (all of them from 8 on, none from 0 down).
inline __m256i first_lanes(int64_t columns) {
  int count = columns > 8 ? 8 : columns < 0 ? 0 : static_cast<int>(columns);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

}  // namespace

}  // namespace whittle::avx2
