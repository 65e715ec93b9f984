#include "kernels/vector/quantize_heads_s8.h"

#include <cstring>

#include "kernels/avx2/floats.h"

namespace whittle::avx2 {

namespace {

using vector::HeadsS8;

void quantize_heads_s8(const float* x, int64_t x_stride, int64_t rows, int64_t heads, int64_t head_size, uint8_t flip,
                       int8_t* q, int64_t q_stride, float* scales, int64_t scale_stride) {
  const __m256i flips = _mm256_set1_epi8(static_cast<char>(flip));
  // The packs work on 128-bit halves; this puts their groups of four back into order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const auto put = [&](const HeadsS8& some, const float* factors) {
    for (int64_t i = 0; i < some.count; ++i) {
      const float* from = some.x + i * some.x_step;
      int8_t* to = some.q + i * some.q_step;
      const __m256 factor = _mm256_set1_ps(factors[i]);
      for (int64_t c = 0; c < head_size; c += 32) {
        const int64_t left = head_size - c;
        const auto rounded = [&](int64_t at) {
          const __m256 values = at + 8 <= left ? _mm256_loadu_ps(from + c + at)
                                : at < left    ? _mm256_maskload_ps(from + c + at, first_lanes(left - at))
                                               : _mm256_setzero_ps();
          return _mm256_cvtps_epi32(_mm256_mul_ps(values, factor));
        };
        const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(rounded(0), rounded(8)),
                                                  _mm256_packs_epi32(rounded(16), rounded(24)));
        const __m256i bytes = _mm256_xor_si256(_mm256_permutevar8x32_epi32(packed, order), flips);
        if (left >= 32) {
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + c), bytes);
        } else {
          alignas(32) int8_t last[32];
          _mm256_store_si256(reinterpret_cast<__m256i*>(last), bytes);
          std::memcpy(to + c, last, static_cast<size_t>(left));
        }
      }
    }
  };
  vector::quantize_heads_s8<Floats>(x, x_stride, rows, heads, head_size, q, q_stride, scales, scale_stride, put);
}

}  // namespace

void add_quantize_heads_s8(KernelTable& table) {
  table.quantize_heads_s8 = quantize_heads_s8;
}

}  // namespace whittle::avx2
