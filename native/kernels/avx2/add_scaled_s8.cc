#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

void add_scaled_s8(const int8_t* w, int32_t q, int64_t count, int32_t* c) {
  const __m256i factor = _mm256_set1_epi32(q);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(w + i)));
    __m256i* to = reinterpret_cast<__m256i*>(c + i);
    _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), _mm256_mullo_epi32(wide, factor)));
  }
  for (; i < count; ++i) c[i] += q * w[i];
}

}  // namespace

void add_add_scaled_s8(KernelTable& table) {
  table.add_scaled_s8 = add_scaled_s8;
}

}  // namespace whittle::avx2
