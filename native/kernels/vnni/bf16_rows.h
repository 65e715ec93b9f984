// Rows of bf16 as training keeps them: loads, stores, and the pairs that dpbf16ps multiplies.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"
#include "kernels/vnni/bf16_pairs.h"
#include "kernels/vnni/interleave.h"

namespace whittle::vnni {

namespace {

// 32 bf16, of which the first `count` exist; the others are zero.
inline __m512i load_32(const bf16* p, int64_t count) {
  if (count >= 32) return _mm512_loadu_si512(p);
  alignas(64) bf16 values[32] = {};
  if (count > 0) std::memcpy(values, p, static_cast<size_t>(count) * sizeof(bf16));
  return _mm512_load_si512(values);
}

// 16 bf16 as floats; all of them exist.
inline __m512 load_16_as_floats(const bf16* p) {
  const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16);
}

// The first `count` (at most 16) of x, rounded.
inline void store_rounded(bf16* p, int64_t count, __m512 x) {
  const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(x);
  if (count >= 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), rounded);
    return;
  }
  bf16 values[16];
  std::memcpy(values, &rounded, sizeof values);
  std::memcpy(p, values, static_cast<size_t>(count) * sizeof(bf16));
}

// Lanes of `first` hold pairs (even[c], odd[c]) of columns 0 to 15, those of `second` of columns 16 to 31.
inline void interleave_32(__m512i even, __m512i odd, __m512i* first, __m512i* second) {
  const __m512i lower = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                         5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i upper = _mm512_add_epi16(lower, _mm512_set1_epi16(16));
  *first = _mm512_permutex2var_epi16(even, lower, odd);
  *second = _mm512_permutex2var_epi16(even, upper, odd);
}

// y [rows, whole_pairs(cols)]: columns 2 c and 2 c + 1 of x [rows, cols] as pair c, padded with zeros.
inline void copy_pairs(const bf16* x, int64_t x_stride, int64_t rows, int64_t cols, float* y) {
  const int64_t pairs = whole_pairs(cols);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < 2 * pairs; c += 32) {
      _mm512_storeu_si512(y + r * pairs + c / 2, load_32(x + r * x_stride + c, cols - c));
    }
  }
}

// y [ceil(rows / 2), cols padded to 16]: rows 2 r and 2 r + 1 of x [rows, cols] as pairs, padded with zeros.
inline void interleave_rows(const bf16* x, int64_t x_stride, int64_t rows, int64_t cols, float* y) {
  const int64_t padded = (cols + 15) / 16 * 16;
  for (int64_t r = 0; r < rows; r += 2) {
    const bf16* even = x + r * x_stride;
    for (int64_t c = 0; c < padded; c += 32) {
      __m512i first, second;
      interleave_32(load_32(even + c, cols - c), load_32(even + x_stride + c, r + 1 < rows ? cols - c : 0), &first,
                    &second);
      float* to = y + r / 2 * padded + c;
      _mm512_storeu_si512(to, first);
      if (c + 16 < padded) _mm512_storeu_si512(to + 16, second);
    }
  }
}

// Packs panels of 32 columns of x [k, n] that cover [n_begin, n_end): columns 16 half to 16 half + 15 of panel j, rows
// c and c + 1 (c even), become 16 pairs at place(j, c, half), 64-byte aligned, up to row padded_k(k); what lies beyond
// n and k is zero. Rows lie far apart, so all panels take two rows before the next come, and rows are fetched ahead.
template <typename Place>
inline void pack_transposed(const bf16* x, int64_t x_stride, int64_t n, int64_t k, int64_t n_begin, int64_t n_end,
                            Place place) {
  constexpr int64_t kAhead = 8;
  for (int64_t c = 0; c < padded_k(k); c += 2) {
    const bf16* even = x + c * x_stride;
    for (int64_t j = n_begin; j < n_end; j += 32) {
      if (c + kAhead + 1 < k) {
        _mm_prefetch(reinterpret_cast<const char*>(even + kAhead * x_stride + j), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(even + (kAhead + 1) * x_stride + j), _MM_HINT_T0);
      }
      __m512i first, second;
      interleave_32(load_32(even + j, c < k ? n - j : 0), load_32(even + x_stride + j, c + 1 < k ? n - j : 0), &first,
                    &second);
      _mm512_store_si512(place(j, c, 0), first);
      _mm512_store_si512(place(j, c, 1), second);
    }
  }
}

// y [rows, cols] = x [rows, cols padded to 16] * factors[r] (null: 1), rounded.
inline void round_rows(const float* x, int64_t rows, int64_t cols, const float* factors, bf16* y, int64_t y_stride) {
  const int64_t padded = (cols + 15) / 16 * 16;
  for (int64_t r = 0; r < rows; ++r) {
    const __m512 factor = _mm512_set1_ps(factors ? factors[r] : 1.0f);
    for (int64_t c = 0; c < cols; c += 16) {
      store_rounded(y + r * y_stride + c, cols - c, _mm512_mul_ps(_mm512_loadu_ps(x + r * padded + c), factor));
    }
  }
}

}  // namespace

}  // namespace whittle::vnni
