// int8 product by widening to int16 and vpmaddwd, which is exact for all of [-128, 127]. (vpmaddubsw with |a| and
// sign(w, a) needs as many instructions, and would go wrong at w = -128.)
// A comes as a + 128, for which sums begin at -128 times the sum of W's row, or as it is.
// Packed: panels of 16 rows of W, 32-byte aligned: what sums begin with, int32 [16], then element (r, c) at
// c / 2 * 32 + r * 2 + c % 2, with columns up to an even number.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/avx2/masks.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

constexpr int64_t kPanel = 16;
constexpr int kRows = 6;          // 6 x 2 accumulators in 16 registers
constexpr int64_t kDepth = 1024;  // columns of A widened at once: 6 rows of int16 are 12 KB on the stack

int64_t even(int64_t k) {
  return (k + 1) / 2 * 2;
}

int64_t panel_bytes(int64_t k) {
  return kPanel * (even(k) + static_cast<int64_t>(sizeof(int32_t)));
}

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * panel_bytes(k);
}

// Pairs of two columns of 16 rows in the order of their words, and what they add up to.
class PairSums {
 public:
  void add(__m256i pairs) {
    const __m256i sums = _mm256_maddubs_epi16(_mm256_set1_epi8(1), pairs);  // of words: rows
    low_ = _mm256_add_epi32(low_, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(sums)));
    high_ = _mm256_add_epi32(high_, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(sums, 1)));
  }
  // What sums begin with if A comes as a + 128.
  void store(int32_t* begin) const {
    const __m256i zero = _mm256_setzero_si256();
    store(begin, _mm256_sub_epi32(zero, _mm256_slli_epi32(low_, 7)));
    store(begin + 8, _mm256_sub_epi32(zero, _mm256_slli_epi32(high_, 7)));
  }

 private:
  static void store(int32_t* p, __m256i x) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), x); }
  __m256i low_ = _mm256_setzero_si256(), high_ = low_;
};

// t[p] word r of a half = t[r] word p of it, in place.
void transpose_words(__m256i (&t)[8]) {
  __m256i s[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    s[2 * i] = _mm256_unpacklo_epi16(t[2 * i], t[2 * i + 1]);
    s[2 * i + 1] = _mm256_unpackhi_epi16(t[2 * i], t[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const int at = i / 2 * 4 + i % 2;
    t[2 * i] = _mm256_unpacklo_epi32(s[at], s[at + 2]);
    t[2 * i + 1] = _mm256_unpackhi_epi32(s[at], s[at + 2]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    s[2 * i] = _mm256_unpacklo_epi64(t[i], t[i + 4]);
    s[2 * i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 4]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) t[i] = s[i];
}

// 16 bytes, of which `count` exist (may be negative, or more).
__m128i load_bytes(const int8_t* p, int64_t count) {
  if (count >= 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  alignas(16) int8_t bytes[16] = {};
  if (count > 0) std::memcpy(bytes, p, static_cast<size_t>(count));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}

void store_pairs(int8_t* p, __m256i pairs) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(p), pairs);
}

// Rows of W that lie contiguous: 16 columns of 16 rows at once.
void pack_rows(const int8_t* w, int64_t row_stride, int64_t rows, int64_t k, int8_t* panel, PairSums& sums) {
  for (int64_t c = 0; c < k; c += 16) {
    const auto row = [&](int64_t r) { return load_bytes(w + r * row_stride + c, r < rows ? k - c : 0); };
    __m256i pairs[8];  // halves of pairs[i]: rows i and 8 + i
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) pairs[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(row(i)), row(8 + i), 1);
    transpose_words(pairs);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      if (c + 2 * i >= k) break;
      sums.add(pairs[i]);
      store_pairs(panel + (c + 2 * i) * kPanel, pairs[i]);
    }
  }
}

// Columns of W that lie contiguous.
void pack_columns(const int8_t* w, int64_t column_stride, int64_t rows, int64_t k, int8_t* panel, PairSums& sums) {
  const auto column = [&](int64_t c) {
    return _mm256_cvtepu8_epi16(load_bytes(w + c * column_stride, c < k ? rows : 0));
  };
  for (int64_t c = 0; c < k; c += 2) {
    const __m256i pairs = _mm256_or_si256(column(c), _mm256_slli_epi16(column(c + 1), 8));
    sums.add(pairs);
    store_pairs(panel + c * kPanel, pairs);
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
    sums.add(_mm256_load_si256(reinterpret_cast<const __m256i*>(pairs)));
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
typedef int32_t Lanes __attribute__((vector_size(32)));

__m256i load_columns(const int32_t* c, int64_t columns) {
  return columns >= 8 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(c))
                      : _mm256_maskload_epi32(c, first_lanes(columns));
}

void store_columns(int32_t* c, int64_t columns, __m256i values) {
  if (columns >= 8) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(c), values);
  } else {
    _mm256_maskstore_epi32(c, first_lanes(columns), values);
  }
}

// C[R, 16] (+)= begin [16] + A[R, depth] * W^T for one panel, of which `columns` columns exist. a: int16, kDepth apart.
template <int R>
void multiply(const int16_t* a, const int32_t* begin, const int8_t* w, int64_t depth, int32_t* c, int64_t c_stride,
              int64_t columns, bool accumulate) {
  Lanes sums[R][2];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
    sums[i][0] = (Lanes)_mm256_load_si256(reinterpret_cast<const __m256i*>(begin));
    sums[i][1] = (Lanes)_mm256_load_si256(reinterpret_cast<const __m256i*>(begin + 8));
  }
  for (int64_t l = 0; l < depth; l += 2) {
    const __m128i* pairs = reinterpret_cast<const __m128i*>(w + l * kPanel);
    __m256i low = _mm256_cvtepi8_epi16(_mm_loadu_si128(pairs)), high = _mm256_cvtepi8_epi16(_mm_loadu_si128(pairs + 1));
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      int32_t two;
      __builtin_memcpy(&two, a + i * kDepth + l, sizeof two);
      __m256i values = _mm256_set1_epi32(two);
      sums[i][0] += (Lanes)_mm256_madd_epi16(values, low);
      sums[i][1] += (Lanes)_mm256_madd_epi16(values, high);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      int32_t* to = c + i * c_stride + v * 8;
      Lanes before = accumulate ? (Lanes)load_columns(to, columns - v * 8) : Lanes{};
      store_columns(to, columns - v * 8, (__m256i)(before + sums[i][v]));
    }
  }
}

using Multiply = void (*)(const int16_t*, const int32_t*, const int8_t*, int64_t, int32_t*, int64_t, int64_t, bool);
constexpr Multiply kMultiply[kRows + 1] = {nullptr,     multiply<1>, multiply<2>, multiply<3>,
                                           multiply<4>, multiply<5>, multiply<6>};

void run(const uint8_t* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  alignas(32) static constexpr int32_t kZeros[kPanel] = {};
  alignas(32) int16_t wide[kRows * kDepth];
  int64_t blocks = (m + kRows - 1) / kRows;
  for (int64_t block = 0; block < blocks; ++block) {
    int64_t row = m * block / blocks, rows = m * (block + 1) / blocks - row;
    for (int64_t begin = 0; begin == 0 || begin < k; begin += kDepth) {
      int64_t depth = k - begin < kDepth ? even(k - begin) : kDepth;
      // Reads up to padded_k(k) columns, which exist.
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t l = 0; l < depth; l += 16) {
          const uint8_t* from = a + (row + i) * a_stride + begin + l;
          const __m256i values = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
          _mm256_store_si256(reinterpret_cast<__m256i*>(wide + i * kDepth + l), values);
        }
      }
      for (int64_t j = n_begin; j < n_end; j += kPanel) {
        const char* panel = static_cast<const char*>(packed) + j / kPanel * panel_bytes(k);
        const int32_t* sums = reinterpret_cast<const int32_t*>(panel);
        const int8_t* weights = reinterpret_cast<const int8_t*>(sums + kPanel) + begin * kPanel;
        kMultiply[rows](wide, begin == 0 ? sums : kZeros, weights, depth, c + row * c_stride + (j - n_begin), c_stride,
                        n_end - j, accumulate || begin > 0);
      }
    }
  }
}

}  // namespace

void add_gemm_s8(KernelTable& table) {
  table.gemm_s8 = {kPanel, kRows, packed_bytes, pack<false>, run, 1, nullptr, pack<true>};
}

}  // namespace whittle::avx2
