#include "kernels/vector/quantize_heads_s8.h"

#include "kernels/avx512/floats.h"

namespace whittle::avx512 {

namespace {

using vector::HeadsS8;

// Four vectors as 64 bytes.
inline __m512i bytes_of(__m512i a, __m512i b, __m512i c, __m512i d, __m512i flip) {
  // The packs work on quarters of a register; this puts their groups of four bytes back into order.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
  return _mm512_xor_si512(_mm512_permutexvar_epi32(order, bytes), flip);
}

inline __m512i rounded(__m512 x, __m512 factor) {
  return _mm512_cvtps_epi32(_mm512_mul_ps(x, factor));
}

void quantize_heads_s8(const float* x, int64_t x_stride, int64_t rows, int64_t heads, int64_t head_size, uint8_t flip,
                       int8_t* q, int64_t q_stride, float* scales, int64_t scale_stride) {
  const __m512i flips = _mm512_set1_epi8(static_cast<char>(flip));
  const auto whole = [](const float* p, __m512 factor) { return rounded(_mm512_loadu_ps(p), factor); };
  const auto put_any = [&](const HeadsS8& some, const float* factors) {
    for (int64_t i = 0; i < some.count; ++i) {
      const float* from = some.x + i * some.x_step;
      int8_t* to = some.q + i * some.q_step;
      const __m512 factor = _mm512_set1_ps(factors[i]);
      int64_t c = 0;
      for (; c + 64 <= head_size; c += 64) {
        _mm512_storeu_si512(to + c, bytes_of(whole(from + c, factor), whole(from + c + 16, factor),
                                             whole(from + c + 32, factor), whole(from + c + 48, factor), flips));
      }
      for (; c < head_size; c += 16) {
        const __mmask16 lanes = Floats::first(head_size - c < 16 ? head_size - c : 16);
        const __m512i values = rounded(_mm512_maskz_loadu_ps(lanes, from + c), factor);
        const __m128i bytes = _mm_xor_si128(_mm512_cvtepi32_epi8(values), _mm512_castsi512_si128(flips));
        _mm_mask_storeu_epi8(to + c, lanes, bytes);
      }
    }
  };
  const auto put_32 = [&](const HeadsS8& some, const float* factors) {
    for (int64_t i = 0; i < some.count; i += 2) {  // two at once; an odd last one twice
      const int64_t other = i + 1 < some.count ? i + 1 : i;
      const __m512 factor = _mm512_set1_ps(factors[i]), other_factor = _mm512_set1_ps(factors[other]);
      const float *from = some.x + i * some.x_step, *other_from = some.x + other * some.x_step;
      const __m512i bytes = bytes_of(whole(from, factor), whole(from + 16, factor), whole(other_from, other_factor),
                                     whole(other_from + 16, other_factor), flips);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(some.q + i * some.q_step), _mm512_castsi512_si256(bytes));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(some.q + other * some.q_step),
                          _mm512_extracti64x4_epi64(bytes, 1));
    }
  };
  const auto quantize = [&](const auto& put) {
    vector::quantize_heads_s8<Floats>(x, x_stride, rows, heads, head_size, q, q_stride, scales, scale_stride, put);
  };
  if (head_size == 32) {
    quantize(put_32);
  } else {
    quantize(put_any);
  }
}

}  // namespace

void add_quantize_heads_s8(KernelTable& table) {
  table.quantize_heads_s8 = quantize_heads_s8;
}

}  // namespace whittle::avx512
