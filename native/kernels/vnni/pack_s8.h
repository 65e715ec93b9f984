// Packing of bytes as dpbusd and tdpbusd read them: groups of four columns of 16 rows, 64 bytes each, in which element
// (r, c) lies at r * 4 + c % 4.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace whittle::vnni {

namespace {

// 16 bytes from each of p(0) to p(3), one a quarter; kMasked: those that `masks` say, the others are zeros and not
// read.
template <bool kMasked, typename Place>
inline __m512i load_quarters(const Place& p, const __mmask16* masks) {
  const auto load = [&](int i) {
    return kMasked ? _mm_maskz_loadu_epi8(masks[i], p(i)) : _mm_loadu_si128(reinterpret_cast<const __m128i*>(p(i)));
  };
  __m512i x = _mm512_castsi128_si512(load(0));
  x = _mm512_inserti32x4(x, load(1), 1);
  x = _mm512_inserti32x4(x, load(2), 2);
  return _mm512_inserti32x4(x, load(3), 3);
}

inline __mmask16 first_16_bytes(int64_t count) {
  return count >= 16 ? 0xffff : count > 0 ? static_cast<__mmask16>((1u << count) - 1) : 0;
}

// Four groups, of 16 columns of 16 rows, each row contiguous.
template <bool kMasked>
inline void groups_of_rows(const int8_t* w, int64_t row_stride, int64_t rows, int64_t columns, __m512i (&groups)[4]) {
  __m512i x[4];  // quarter i of x[j]: row 4 i + j
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    __mmask16 masks[4];
    for (int i = 0; i < 4; ++i) masks[i] = 4 * i + j < rows ? first_16_bytes(columns) : 0;
    // Rows that do not exist give the address of one that does: where no page is, even a load of nothing takes long.
    const auto row = [&](int i) { return w + (kMasked && masks[i] == 0 ? 0 : (4 * i + j) * row_stride); };
    x[j] = load_quarters<kMasked>(row, masks);
  }
  const __m512i low = _mm512_unpacklo_epi32(x[0], x[1]), high = _mm512_unpackhi_epi32(x[0], x[1]);
  const __m512i low2 = _mm512_unpacklo_epi32(x[2], x[3]), high2 = _mm512_unpackhi_epi32(x[2], x[3]);
  groups[0] = _mm512_unpacklo_epi64(low, low2);
  groups[1] = _mm512_unpackhi_epi64(low, low2);
  groups[2] = _mm512_unpacklo_epi64(high, high2);
  groups[3] = _mm512_unpackhi_epi64(high, high2);
}

// One group, of 4 columns of 16 rows, each column contiguous.
template <bool kMasked>
inline __m512i group_of_columns(const int8_t* w, int64_t column_stride, int64_t rows, int64_t columns) {
  __mmask16 masks[4];
  for (int i = 0; i < 4; ++i) masks[i] = i < columns ? first_16_bytes(rows) : 0;
  // Quarter i: column i. Four rows of all columns into a quarter, then row by row.
  const auto column = [&](int i) { return w + (kMasked && masks[i] == 0 ? 0 : i * column_stride); };
  const __m512i x = load_quarters<kMasked>(column, masks);
  const __m512i quarters = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i by_row = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(quarters, x), by_row);
}

// Packs columns [0, depth), a multiple of 16, of 16 rows of W, `rows` of which exist (may be negative or above 16):
// group c / 4 to place(c), 64-byte aligned; columns from k on are zeros. W element (r, c) is w[r * row_stride + c *
// column_stride]. Returns the rows' sums.
template <typename Place>
inline __m512i pack_16_rows(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t k,
                            int64_t depth, const Place& place) {
  __m512i sums = _mm512_setzero_si512();
  const auto put = [&](int64_t c, __m512i group) {
    sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi8(1), group);
    _mm512_store_si512(place(c), group);
  };
  int64_t c = 0;
  if (rows > 0 && column_stride == 1) {
    for (; c < k; c += 16) {
      __m512i groups[4];
      if (rows >= 16 && c + 16 <= k) {
        groups_of_rows<false>(w + c, row_stride, rows, k - c, groups);
      } else {
        groups_of_rows<true>(w + c, row_stride, rows, k - c, groups);
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) put(c + 4 * i, groups[i]);
    }
  } else if (rows > 0 && row_stride == 1) {
    for (; c < k; c += 4) {
      const int8_t* from = w + c * column_stride;
      put(c, rows >= 16 && c + 4 <= k ? group_of_columns<false>(from, column_stride, rows, k - c)
                                      : group_of_columns<true>(from, column_stride, rows, k - c));
    }
  } else if (rows > 0) {
    for (; c < k; c += 4) {
      alignas(64) int8_t group[64] = {};
      for (int64_t r = 0; r < 16 && r < rows; ++r) {
        for (int64_t i = 0; i < 4 && c + i < k; ++i) group[r * 4 + i] = w[r * row_stride + (c + i) * column_stride];
      }
      put(c, _mm512_load_si512(group));
    }
  }
  for (; c < depth; c += 4) _mm512_store_si512(place(c), _mm512_setzero_si512());
  return sums;
}

}  // namespace

}  // namespace whittle::vnni
