#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

void widen_f16(const uint16_t* x, int64_t count, float* y) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
  if (i == count) return;
  alignas(16) uint16_t last[8] = {};
  alignas(32) float wide[8];
  for (int64_t j = i; j < count; ++j) last[j - i] = x[j];
  _mm256_store_ps(wide, _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(last))));
  for (int64_t j = i; j < count; ++j) y[j] = wide[j - i];
}

void widen_s8(const int8_t* x, float scale, int64_t count, float* y) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256i whole = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + i)));
    _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(scale)));
  }
  for (; i < count; ++i) y[i] = static_cast<float>(x[i]) * scale;
}

}  // namespace

void add_widen(KernelTable& table) {
  table.widen_f16 = widen_f16;
  table.widen_s8 = widen_s8;
}

}  // namespace whittle::avx2
