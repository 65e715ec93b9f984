// int8 product for AVX-512 CPUs without VNNI: widened to int16, then vpmaddwd. Exact for all of [-128, 127].
// A comes as a + 128, for which sums begin at -128 times the sum of W's row, or as it is.
// Packed: panels of 32 rows of W, 64-byte aligned: what sums begin with, int32 [32], then element (r, c) at
// c / 2 * 64 + r * 2 + c % 2, with columns up to an even number.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

constexpr int64_t kPanel = 32;
constexpr int kRows = 12;        // 12 x 2 accumulators in 32 registers
constexpr int64_t kDepth = 512;  // columns of A widened at once: 12 rows of int16 are 12 KB on the stack

int64_t even(int64_t k) {
  return (k + 1) / 2 * 2;
}

int64_t panel_bytes(int64_t k) {
  return kPanel * (even(k) + static_cast<int64_t>(sizeof(int32_t)));
}

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * panel_bytes(k);
}

// Pairs of two columns of 32 rows in the order of their words, and what they add up to.
class PairSums {
 public:
  void add(__m512i pairs) {
    const __m512i sums = _mm512_maddubs_epi16(_mm512_set1_epi8(1), pairs);  // of words: rows
    low_ = _mm512_add_epi32(low_, _mm512_cvtepi16_epi32(_mm512_castsi512_si256(sums)));
    high_ = _mm512_add_epi32(high_, _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(sums, 1)));
  }
  // What sums begin with if A comes as a + 128.
  void store(int32_t* begin) const {
    _mm512_store_si512(begin, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(low_, 7)));
    _mm512_store_si512(begin + 16, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(high_, 7)));
  }

 private:
  __m512i low_ = _mm512_setzero_si512(), high_ = low_;
};

// t[p] word r of a quarter = t[r] word p of it, in place.
void transpose_words(__m512i (&t)[8]) {
  __m512i s[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    s[2 * i] = _mm512_unpacklo_epi16(t[2 * i], t[2 * i + 1]);
    s[2 * i + 1] = _mm512_unpackhi_epi16(t[2 * i], t[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const int at = i / 2 * 4 + i % 2;
    t[2 * i] = _mm512_unpacklo_epi32(s[at], s[at + 2]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(s[at], s[at + 2]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    s[2 * i] = _mm512_unpacklo_epi64(t[i], t[i + 4]);
    s[2 * i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 4]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) t[i] = s[i];
}

__mmask32 first_of(int64_t count) {
  return count >= 32 ? ~__mmask32{0} : count > 0 ? (__mmask32{1} << count) - 1 : 0;
}

// Rows of W that lie contiguous: 16 columns of 32 rows at once.
void pack_rows(const int8_t* w, int64_t row_stride, int64_t rows, int64_t k, int8_t* panel, PairSums& sums) {
  for (int64_t c = 0; c < k; c += 16) {
    const __mmask16 columns = static_cast<__mmask16>(k - c >= 16 ? 0xffff : (1u << (k - c)) - 1);
    __m512i pairs[8];  // quarter q of pairs[i]: row 8 q + i
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const auto row = [&](int quarter) {
        const int64_t r = 8 * quarter + i;
        return r < rows ? _mm_maskz_loadu_epi8(columns, w + r * row_stride + c) : _mm_setzero_si128();
      };
      __m512i x = _mm512_castsi128_si512(row(0));
      x = _mm512_inserti32x4(x, row(1), 1);
      x = _mm512_inserti32x4(x, row(2), 2);
      pairs[i] = _mm512_inserti32x4(x, row(3), 3);
    }
    transpose_words(pairs);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      if (c + 2 * i >= k) break;
      sums.add(pairs[i]);
      _mm512_store_si512(panel + (c + 2 * i) * kPanel, pairs[i]);
    }
  }
}

// Columns of W that lie contiguous.
void pack_columns(const int8_t* w, int64_t column_stride, int64_t rows, int64_t k, int8_t* panel, PairSums& sums) {
  const __mmask32 mask = first_of(rows);
  const auto column = [&](int64_t c) {
    return c < k ? _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, w + c * column_stride)) : _mm512_setzero_si512();
  };
  for (int64_t c = 0; c < k; c += 2) {
    const __m512i pairs = _mm512_or_si512(column(c), _mm512_slli_epi16(column(c + 1), 8));
    sums.add(pairs);
    _mm512_store_si512(panel + c * kPanel, pairs);
  }
}

void pack_any(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t k, int8_t* panel,
              PairSums& sums) {
  for (int64_t c = 0; c < k; c += 2) {
    int8_t* pairs = panel + c * kPanel;
    for (int64_t r = 0; r < kPanel; ++r) {
      for (int64_t i = 0; i < 2; ++i)
        pairs[r * 2 + i] = c + i < k && r < rows ? w[r * row_stride + (c + i) * column_stride] : int8_t{0};
    }
    sums.add(_mm512_load_si512(pairs));
  }
}

template <bool kUnsigned>
void pack(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    int32_t* begin = reinterpret_cast<int32_t*>(static_cast<char*>(packed) + j / kPanel * panel_bytes(k));
    int8_t* panel = reinterpret_cast<int8_t*>(begin + kPanel);
    const int8_t* from = w + j * row_stride;
    PairSums sums;
    if (column_stride == 1) {
      pack_rows(from, row_stride, n - j, k, panel, sums);
    } else if (row_stride == 1) {
      pack_columns(from, column_stride, n - j, k, panel, sums);
    } else {
      pack_any(from, row_stride, column_stride, n - j, k, panel, sums);
    }
    (kUnsigned ? PairSums() : sums).store(begin);
  }
}

// Accumulators say what their lanes are, so that GCC keeps them in registers.
typedef int32_t Lanes __attribute__((vector_size(64)));

// C[R, 32] (+)= begin [32] + A[R, depth] * W^T for one panel; masks: which columns of each 16 exist. a: int16, kDepth
// apart.
template <int R>
void multiply(const int16_t* a, const int32_t* begin, const int8_t* w, int64_t depth, int32_t* c, int64_t c_stride,
              const __mmask16* masks, bool accumulate) {
  Lanes sums[R][2];
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i) {
    sums[i][0] = (Lanes)_mm512_load_si512(begin);
    sums[i][1] = (Lanes)_mm512_load_si512(begin + 16);
  }
  for (int64_t l = 0; l < depth; l += 2) {
    const __m256i* pairs = reinterpret_cast<const __m256i*>(w + l * kPanel);
    __m512i low = _mm512_cvtepi8_epi16(_mm256_loadu_si256(pairs));
    __m512i high = _mm512_cvtepi8_epi16(_mm256_loadu_si256(pairs + 1));
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
      int32_t two;
      __builtin_memcpy(&two, a + i * kDepth + l, sizeof two);
      __m512i values = _mm512_set1_epi32(two);
      sums[i][0] += (Lanes)_mm512_madd_epi16(values, low);
      sums[i][1] += (Lanes)_mm512_madd_epi16(values, high);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      int32_t* to = c + i * c_stride + v * 16;
      __m512i before = accumulate ? _mm512_maskz_loadu_epi32(masks[v], to) : _mm512_setzero_si512();
      _mm512_mask_storeu_epi32(to, masks[v], _mm512_add_epi32(before, (__m512i)sums[i][v]));
    }
  }
}

using Multiply = void (*)(const int16_t*, const int32_t*, const int8_t*, int64_t, int32_t*, int64_t, const __mmask16*,
                          bool);
constexpr Multiply kMultiply[kRows + 1] = {nullptr,      multiply<1>,  multiply<2>, multiply<3>, multiply<4>,
                                           multiply<5>,  multiply<6>,  multiply<7>, multiply<8>, multiply<9>,
                                           multiply<10>, multiply<11>, multiply<12>};

void run(const uint8_t* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  alignas(64) static constexpr int32_t kZeros[kPanel] = {};
  alignas(64) int16_t wide[kRows * kDepth];
  int64_t blocks = (m + kRows - 1) / kRows;
  for (int64_t block = 0; block < blocks; ++block) {
    int64_t row = m * block / blocks, rows = m * (block + 1) / blocks - row;
    for (int64_t begin = 0; begin == 0 || begin < k; begin += kDepth) {
      int64_t depth = k - begin < kDepth ? even(k - begin) : kDepth;
      // Reads up to padded_k(k) columns, which exist.
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t l = 0; l < depth; l += 32) {
          const uint8_t* from = a + (row + i) * a_stride + begin + l;
          const __m512i values = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
          _mm512_store_si512(wide + i * kDepth + l, values);
        }
      }
      for (int64_t j = n_begin; j < n_end; j += kPanel) {
        __mmask16 masks[2];
        for (int64_t v = 0; v < 2; ++v) {
          int64_t columns = n_end - j - v * 16;
          masks[v] = columns >= 16 ? 0xffff : columns > 0 ? static_cast<__mmask16>((1u << columns) - 1) : 0;
        }
        const char* panel = static_cast<const char*>(packed) + j / kPanel * panel_bytes(k);
        const int32_t* sums = reinterpret_cast<const int32_t*>(panel);
        const int8_t* weights = reinterpret_cast<const int8_t*>(sums + kPanel) + begin * kPanel;
        kMultiply[rows](wide, begin == 0 ? sums : kZeros, weights, depth, c + row * c_stride + (j - n_begin), c_stride,
                        masks, accumulate || begin > 0);
      }
    }
  }
}

}  // namespace

void add_gemm_s8(KernelTable& table) {
  table.gemm_s8 = {kPanel, kRows, packed_bytes, pack<false>, run, 1, nullptr, pack<true>};
}

}  // namespace whittle::avx512
