#include <immintrin.h>

#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

// The upper and lower halves of the products of 16 uint32.
inline void multiply(__m512i x, __m512i factor, __m512i* high, __m512i* low) {
  const __m512i even = _mm512_mul_epu32(x, factor), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), factor);
  *high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
  *low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}

void dropout_bits(const uint32_t key[2], const uint32_t counter[3], uint32_t threshold, int64_t count, uint8_t* bits) {
  const __m512i factor0 = _mm512_set1_epi32(static_cast<int>(0xD2511F53u));
  const __m512i factor1 = _mm512_set1_epi32(static_cast<int>(0xCD9E8D57u));
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i least = _mm512_set1_epi16(static_cast<short>(threshold));
  for (int64_t block = 0; block * 128 < count; ++block) {
    __m512i words[4] = {_mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(block * 16)), lanes),
                        _mm512_set1_epi32(static_cast<int>(counter[0])),
                        _mm512_set1_epi32(static_cast<int>(counter[1])),
                        _mm512_set1_epi32(static_cast<int>(counter[2]))};
    uint32_t key0 = key[0], key1 = key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      __m512i high0, low0, high1, low1;
      multiply(words[0], factor0, &high0, &low0);
      multiply(words[2], factor1, &high1, &low1);
      words[0] = _mm512_ternarylogic_epi32(high1, words[1], _mm512_set1_epi32(static_cast<int>(key0)), 0x96);
      words[1] = low1;
      words[2] = _mm512_ternarylogic_epi32(high0, words[3], _mm512_set1_epi32(static_cast<int>(key1)), 0x96);
      words[3] = low0;
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    for (int word = 0; word < 4; ++word) {
      const __mmask32 kept = _mm512_cmpge_epu16_mask(words[word], least);
      __builtin_memcpy(bits + block * 16 + word * 4, &kept, 4);
    }
  }
}

}  // namespace

void add_dropout_bits(KernelTable& table) {
  table.dropout_bits = dropout_bits;
}

}  // namespace whittle::avx512
