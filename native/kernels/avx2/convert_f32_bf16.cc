#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/masks.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

// 8 floats rounded to nearest, ties to even, as 8 int32 below 2^16; a NaN stays a NaN.
__m256i rounded(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x), upper = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i sum = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
  return _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), quiet, nan);
}

void convert_f32_bf16(const float* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    bf16* out = y + r * y_stride;
    const auto eight = [&](int64_t c) {
      return rounded(c + 8 <= cols ? _mm256_loadu_ps(row + c)
                     : c < cols    ? _mm256_maskload_ps(row + c, first_lanes(cols - c))
                                   : _mm256_setzero_ps());
    };
    for (int64_t c = 0; c < padded_k(cols); c += 16) {
      // The pack works on 128-bit halves; this puts their groups of eight bytes back into order.
      const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(eight(c), eight(c + 8)), 0xd8);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + c), packed);
    }
  }
}

}  // namespace

void add_convert_f32_bf16(KernelTable& table) {
  table.convert_f32_bf16 = convert_f32_bf16;
}

}  // namespace whittle::avx2
