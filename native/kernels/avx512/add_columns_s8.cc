#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

__m512i product(const int8_t* w, int32_t value) {
  const __m512i wide = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
  return _mm512_mullo_epi32(wide, _mm512_set1_epi32(value));
}

// Columns [i, i + 64) of c stay in registers while all columns of w are added.
void add_columns_s8(const int8_t* w, int64_t w_stride, const int32_t* columns, const int32_t* values, int count,
                    int64_t n, int32_t* c) {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    __m512i s0 = _mm512_loadu_si512(c + i), s1 = _mm512_loadu_si512(c + i + 16);
    __m512i s2 = _mm512_loadu_si512(c + i + 32), s3 = _mm512_loadu_si512(c + i + 48);
    for (int j = 0; j < count; ++j) {
      const int8_t* from = w + columns[j] * w_stride + i;
      s0 = _mm512_add_epi32(s0, product(from, values[j]));
      s1 = _mm512_add_epi32(s1, product(from + 16, values[j]));
      s2 = _mm512_add_epi32(s2, product(from + 32, values[j]));
      s3 = _mm512_add_epi32(s3, product(from + 48, values[j]));
    }
    _mm512_storeu_si512(c + i, s0);
    _mm512_storeu_si512(c + i + 16, s1);
    _mm512_storeu_si512(c + i + 32, s2);
    _mm512_storeu_si512(c + i + 48, s3);
  }
  for (; i < n; ++i) {
    for (int j = 0; j < count; ++j) c[i] += values[j] * w[columns[j] * w_stride + i];
  }
}

}  // namespace

void add_add_columns_s8(KernelTable& table) {
  table.add_columns_s8 = add_columns_s8;
}

}  // namespace whittle::avx512
