#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

void add_scaled_s8(const int8_t* w, int32_t q, int64_t count, int32_t* c) {
  const __m512i factor = _mm512_set1_epi32(q);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m512i wide = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + i)));
    _mm512_storeu_si512(c + i, _mm512_add_epi32(_mm512_loadu_si512(c + i), _mm512_mullo_epi32(wide, factor)));
  }
  for (; i < count; ++i) c[i] += q * w[i];
}

}  // namespace

void add_add_scaled_s8(KernelTable& table) {
  table.add_scaled_s8 = add_scaled_s8;
}

}  // namespace whittle::avx512
