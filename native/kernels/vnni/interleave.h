// Packing of float32 rows as pairs of bf16, as dpbf16ps and tdpbf16ps read them.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/transpose.h"
#include "kernels/kernel_table.h"

namespace whittle::vnni {

namespace {

// Lane r of the result holds (even[r], odd[r]) rounded to bf16.
inline __m512i interleave_rounded(__m512 even, __m512 odd) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

// kStream: past the caches, for what is not read before they are full of other things.
template <bool kStream>
inline void store_line(void* to, __m512i line) {
  if constexpr (kStream) {
    _mm512_stream_si512(static_cast<__m512i*>(to), line);
  } else {
    _mm512_store_si512(to, line);
  }
}

// The lanes below `count`, which may be negative or above 16.
inline __mmask16 first_16_of(int64_t count) {
  return count >= 16 ? 0xffff : count > 0 ? static_cast<__mmask16>((1u << count) - 1) : 0;
}

// Packs columns [c_begin, c_end), both multiples of 16, of 16 rows of W, `rows` of which exist (may be negative):
// columns c and c + 1 (c even) become 16 pairs at place(c), 64-byte aligned; columns from k on are zeros. W element (r,
// c) is w[r * row_stride + c * column_stride].
template <bool kStream = false, typename Place>
inline void pack_16_rows(const float* w, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t k,
                         int64_t c_begin, int64_t c_end, Place place) {
  rows = rows < 0 ? 0 : rows > 16 ? 16 : rows;
  if (column_stride == 1 && row_stride != 1 && rows > 0) {  // then c_begin and c_end are multiples of 32
    for (int64_t c = c_begin; c < c_end; c += 32) {
      const __mmask16 lower = first_16_of(k - c), upper = first_16_of(k - c - 16);
      __m512 pairs[16];  // rounded first: what is then transposed are pairs, half as much as floats
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) {
        if (r >= rows) {
          pairs[r] = _mm512_setzero_ps();
          continue;
        }
        const float* row = w + r * row_stride + c;
        pairs[r] =
            (__m512)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(upper, row + 16), _mm512_maskz_loadu_ps(lower, row));
      }
      avx512::transpose_16x16(pairs);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) store_line<kStream>(place(c + 2 * i), (__m512i)pairs[i]);
    }
    return;
  }
  const __mmask16 mask = static_cast<__mmask16>((1u << rows) - 1);
  auto column = [&](int64_t c) {
    if (c >= k) return _mm512_setzero_ps();
    if (row_stride == 1) {
      // Columns lie far apart: those of the part after this one are fetched ahead.
      if (c + 16 < k) _mm_prefetch(reinterpret_cast<const char*>(w + (c + 16) * column_stride), _MM_HINT_T1);
      return _mm512_maskz_loadu_ps(mask, w + c * column_stride);
    }
    alignas(64) float values[16] = {};
    for (int64_t r = 0; r < rows; ++r) values[r] = w[r * row_stride + c * column_stride];
    return _mm512_load_ps(values);
  };
  for (int64_t c = c_begin; c < c_end; c += 2) {
    store_line<kStream>(place(c), interleave_rounded(column(c), column(c + 1)));
  }
}

// Calls pack_part(j, c_begin, c_end) so that panels [n_begin, n_end) get all columns up to padded_k(k). Where neighbors
// in memory belong to different panels, all panels take a few columns before the next ones come.
template <typename PackPart>
inline void for_each_part(int64_t row_stride, int64_t k, int64_t n_begin, int64_t n_end, int64_t panel,
                          PackPart pack_part) {
  const int64_t all = padded_k(k), step = row_stride == 1 ? 16 : all;
  for (int64_t c = 0; c < all; c += step) {
    for (int64_t j = n_begin; j < n_end; j += panel) pack_part(j, c, c + step);
  }
}

// Packs what rows [begin, end) of w [n, k] are in panels of 32 rows of its transpose: rows c and c + 1 (c even) of
// columns j + 16 half to j + 16 half + 15 become 16 pairs at place(j, c, half), 64-byte aligned; if end is n, zeros up
// to padded_k(n).
template <typename Place>
inline void pack_columns(const float* w, int64_t n, int64_t k, int64_t begin, int64_t end, Place place) {
  const int64_t c_end = end == n ? padded_k(n) : end;
  for (int64_t j = 0; j < k; j += 32) {
    for (int64_t half = 0; half < 2; ++half) {
      pack_16_rows<true>(w + j + half * 16, 1, k, k - j - half * 16, n, begin, c_end,
                         [&](int64_t c) { return place(j, c, half); });
    }
  }
}

}  // namespace

}  // namespace whittle::vnni
