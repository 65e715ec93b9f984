#include <immintrin.h>

#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

// The upper and lower halves of the products of 8 uint32.
inline void multiply(__m256i x, __m256i factor, __m256i* high, __m256i* low) {
  const __m256i even = _mm256_mul_epu32(x, factor), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), factor);
  *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

// 16 bits: which of 16 uint16 are >= least.
inline uint16_t kept(__m256i halves, __m256i least) {
  const __m256i at_least = _mm256_cmpeq_epi16(_mm256_max_epu16(halves, least), halves);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(at_least), _mm256_extracti128_si256(at_least, 1));
  return static_cast<uint16_t>(_mm_movemask_epi8(bytes));
}

void dropout_bits(const uint32_t key[2], const uint32_t counter[3], uint32_t threshold, int64_t count, uint8_t* bits) {
  const __m256i factor0 = _mm256_set1_epi32(static_cast<int>(0xD2511F53u));
  const __m256i factor1 = _mm256_set1_epi32(static_cast<int>(0xCD9E8D57u));
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i least = _mm256_set1_epi16(static_cast<short>(threshold));
  // Half a block at a time: 8 of its 16 counters, whose 16 bits of each word lie in the lower or upper half.
  for (int64_t half = 0; half / 2 * 128 < count; ++half) {
    __m256i words[4] = {_mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(half * 8)), lanes),
                        _mm256_set1_epi32(static_cast<int>(counter[0])),
                        _mm256_set1_epi32(static_cast<int>(counter[1])),
                        _mm256_set1_epi32(static_cast<int>(counter[2]))};
    uint32_t key0 = key[0], key1 = key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      __m256i high0, low0, high1, low1;
      multiply(words[0], factor0, &high0, &low0);
      multiply(words[2], factor1, &high1, &low1);
      words[0] = _mm256_xor_si256(_mm256_xor_si256(high1, words[1]), _mm256_set1_epi32(static_cast<int>(key0)));
      words[1] = low1;
      words[2] = _mm256_xor_si256(_mm256_xor_si256(high0, words[3]), _mm256_set1_epi32(static_cast<int>(key1)));
      words[3] = low0;
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    for (int word = 0; word < 4; ++word) {
      const uint16_t bits_of_word = kept(words[word], least);
      __builtin_memcpy(bits + half / 2 * 16 + word * 4 + half % 2 * 2, &bits_of_word, 2);
    }
  }
}

}  // namespace

void add_dropout_bits(KernelTable& table) {
  table.dropout_bits = dropout_bits;
}

}  // namespace whittle::avx2
