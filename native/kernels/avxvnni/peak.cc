// How fast this ISA multiplies from registers: what a product is measured against.
#include <immintrin.h>

#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::avxvnni {

namespace {

constexpr int kChains = 12;

int64_t peak_s8(int64_t rounds) {
  __m256i sums[kChains], x = _mm256_set1_epi8(3);
#pragma GCC unroll 12
  for (auto& sum : sums) sum = x;
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sums[i] = _mm256_dpbusd_avx_epi32(sums[i], x, x);
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) __asm__ volatile("" : "+x"(sums[i]));
  }
  return rounds * kChains * 32 * 2;
}

}  // namespace

void add_peak(KernelTable& table) {
  table.peak_s8 = peak_s8;
}

}  // namespace whittle::avxvnni
