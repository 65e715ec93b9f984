// How fast this ISA multiplies from registers: what a product is measured against.
#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

// Makes the compiler believe that x is used and changed here, so that it does each round.
template <typename Vector>
inline void keep([[maybe_unused]] Vector& x) {
#ifdef __AVX512F__
  __asm__ volatile("" : "+v"(x));
#endif
}

int64_t peak_f32(int64_t rounds) {
  __m512 sums[24], x = _mm512_set1_ps(1e-9f);
#pragma GCC unroll 24
  for (auto& sum : sums) sum = x;
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sums[i] = _mm512_fmadd_ps(x, x, sums[i]);
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) keep(sums[i]);
  }
  return rounds * 24 * 16 * 2;
}

int64_t peak_s8(int64_t rounds) {
  __m512i sums[24], x = _mm512_set1_epi16(3);
#pragma GCC unroll 24
  for (auto& sum : sums) sum = x;
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sums[i] = _mm512_add_epi32(sums[i], _mm512_madd_epi16(x, sums[i]));
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) keep(sums[i]);
  }
  return rounds * 24 * 32 * 2;
}

}  // namespace

void add_peak(KernelTable& table) {
  table.peak_f32 = peak_f32;
  table.peak_s8 = peak_s8;
}

}  // namespace whittle::avx512
