// How fast this ISA multiplies from registers: what a product is measured against.
#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::vnni {

namespace {

// Makes the compiler believe that x is used and changed here, so that it does each round.
template <typename Vector>
inline void keep([[maybe_unused]] Vector& x) {
#ifdef __AVX512F__
  __asm__ volatile("" : "+v"(x));
#endif
}

int64_t peak_s8(int64_t rounds) {
  __m512i sums[24], x = _mm512_set1_epi8(3);
#pragma GCC unroll 24
  for (auto& sum : sums) sum = x;
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], x, x);
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) keep(sums[i]);
  }
  return rounds * 24 * 64 * 2;
}

int64_t peak_bf16(int64_t rounds) {
  __m512 sums[24];
  __m512i x = _mm512_set1_epi16(0x3f80);
#pragma GCC unroll 24
  for (auto& sum : sums) sum = _mm512_setzero_ps();
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)x, (__m512bh)x);
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) keep(sums[i]);
  }
  return rounds * 24 * 32 * 2;
}

}  // namespace

void add_peak_s8(KernelTable& table) {
  table.peak_s8 = peak_s8;
}
void add_peak_bf16(KernelTable& table) {
  table.peak_bf16 = peak_bf16;
}

}  // namespace whittle::vnni
