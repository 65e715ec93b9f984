// How fast this ISA multiplies from registers: what a product is measured against.
#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

constexpr int kChains = 12;

int64_t peak_f32(int64_t rounds) {
  __m256 sums[kChains], x = _mm256_set1_ps(1e-9f);
#pragma GCC unroll 12
  for (auto& sum : sums) sum = x;
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sums[i] = _mm256_fmadd_ps(x, x, sums[i]);
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) __asm__ volatile("" : "+x"(sums[i]));
  }
  return rounds * kChains * 8 * 2;
}

// The exact int8 product of this ISA: a vpmaddwd and an addition for 16 products.
int64_t peak_s8(int64_t rounds) {
  __m256i sums[kChains], x = _mm256_set1_epi16(3), y = x;
#pragma GCC unroll 12
  for (auto& sum : sums) sum = x;
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) {
      __asm__ volatile("" : "+x"(y));  // a new product each time
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(x, y));
    }
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) __asm__ volatile("" : "+x"(sums[i]));
  }
  return rounds * kChains * 16 * 2;
}

}  // namespace

void add_peak(KernelTable& table) {
  table.peak_f32 = peak_f32;
  table.peak_s8 = peak_s8;
}

}  // namespace whittle::avx2
