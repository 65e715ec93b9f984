#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

__m256i product(const int8_t* w, int32_t value) {
  const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(w)));
  return _mm256_mullo_epi32(wide, _mm256_set1_epi32(value));
}

void add_columns_s8(const int8_t* w, int64_t w_stride, const int32_t* columns, const int32_t* values, int count,
                    int64_t n, int32_t* c) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    __m256i* to = reinterpret_cast<__m256i*>(c + i);
    __m256i a = _mm256_loadu_si256(to), b = _mm256_loadu_si256(to + 1);
    for (int j = 0; j < count; ++j) {
      const int8_t* from = w + columns[j] * w_stride + i;
      a = _mm256_add_epi32(a, product(from, values[j]));
      b = _mm256_add_epi32(b, product(from + 8, values[j]));
    }
    _mm256_storeu_si256(to, a);
    _mm256_storeu_si256(to + 1, b);
  }
  for (; i < n; ++i) {
    for (int j = 0; j < count; ++j) c[i] += values[j] * w[columns[j] * w_stride + i];
  }
}

}  // namespace

void add_add_columns_s8(KernelTable& table) {
  table.add_columns_s8 = add_columns_s8;
}

}  // namespace whittle::avx2
