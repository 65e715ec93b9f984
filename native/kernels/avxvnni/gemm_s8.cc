// int8 product with the 256-bit vpdpbusd of client CPUs, which multiplies unsigned by signed bytes: A comes as a + 128,
// for which sums begin at -128 times the sum of W's row, or as it is. Exact: dpbusd adds four products into int32
// without saturation.
// Packed: panels of 16 rows of W, 64-byte aligned: what sums begin with, int32 [16], then element (r, c) at
// c / 4 * 64 + r * 4 + c % 4, with columns up to a multiple of 16, which are zero.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/avx2/masks.h"
#include "kernels/kernel_table.h"

namespace whittle::avxvnni {

namespace {

constexpr int64_t kPanel = 16;
constexpr int kRows = 6;  // 6 x 2 accumulators in 16 registers

int64_t whole_depth(int64_t k) {
  return (k + 15) / 16 * 16;
}

int64_t panel_bytes(int64_t k) {
  return kPanel * (whole_depth(k) + static_cast<int64_t>(sizeof(int32_t)));
}

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * panel_bytes(k);
}

// Where a panel's groups of four columns go, and what they add up to.
class Panel {
 public:
  explicit Panel(int8_t* groups) : groups_(groups) {}
  // Columns c to c + 3, c a multiple of 4, of rows 8 half to 8 half + 7.
  void put(int64_t c, int half, __m256i group) {
    sums_[half] = _mm256_dpbusd_avx_epi32(sums_[half], _mm256_set1_epi8(1), group);
    _mm256_store_si256(reinterpret_cast<__m256i*>(groups_ + c * kPanel + half * 32), group);
  }
  // What sums begin with if A comes as a + 128.
  void store_sums(int32_t* begin) const {
    for (int half = 0; half < 2; ++half) {
      const __m256i times_128 = _mm256_slli_epi32(sums_[half], 7);
      _mm256_store_si256(reinterpret_cast<__m256i*>(begin + half * 8),
                         _mm256_sub_epi32(_mm256_setzero_si256(), times_128));
    }
  }

 private:
  int8_t* groups_;
  __m256i sums_[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
};

// 16 bytes, of which `count` exist (may be negative, or more).
__m128i load_bytes(const int8_t* p, int64_t count) {
  if (count >= 16) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  alignas(16) int8_t bytes[16] = {};
  if (count > 0) std::memcpy(bytes, p, static_cast<size_t>(count));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}

// Rows of W that lie contiguous: 16 columns of 8 rows at once.
void pack_rows(const int8_t* w, int64_t row_stride, int64_t rows, int64_t k, Panel& panel) {
  for (int64_t c = 0; c < k; c += 16) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const auto row = [&](int64_t r) { return load_bytes(w + r * row_stride + c, r < rows ? k - c : 0); };
      __m256i x[4];  // halves of x[i]: rows i and 4 + i of the eight
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        x[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(row(8 * half + i)), row(8 * half + 4 + i), 1);
      }
      const __m256i low = _mm256_unpacklo_epi32(x[0], x[1]), high = _mm256_unpackhi_epi32(x[0], x[1]);
      const __m256i low2 = _mm256_unpacklo_epi32(x[2], x[3]), high2 = _mm256_unpackhi_epi32(x[2], x[3]);
      panel.put(c, half, _mm256_unpacklo_epi64(low, low2));
      panel.put(c + 4, half, _mm256_unpackhi_epi64(low, low2));
      panel.put(c + 8, half, _mm256_unpacklo_epi64(high, high2));
      panel.put(c + 12, half, _mm256_unpackhi_epi64(high, high2));
    }
  }
}

// Columns of W that lie contiguous.
void pack_columns(const int8_t* w, int64_t column_stride, int64_t rows, int64_t k, Panel& panel) {
  const auto pairs = [&](int64_t c) {  // of columns c and c + 1, a word a row
    const auto column = [&](int64_t at) {
      return _mm256_cvtepu8_epi16(load_bytes(w + at * column_stride, at < k ? rows : 0));
    };
    return _mm256_or_si256(column(c), _mm256_slli_epi16(column(c + 1), 8));
  };
  for (int64_t c = 0; c < whole_depth(k); c += 4) {
    const __m256i first = pairs(c), second = pairs(c + 2);
    // Halves: rows 0 to 3 and 8 to 11, and those after them.
    const __m256i low = _mm256_unpacklo_epi16(first, second), high = _mm256_unpackhi_epi16(first, second);
    panel.put(c, 0, _mm256_permute2x128_si256(low, high, 0x20));
    panel.put(c, 1, _mm256_permute2x128_si256(low, high, 0x31));
  }
}

void pack_any(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t k, Panel& panel) {
  for (int64_t c = 0; c < whole_depth(k); c += 4) {
    alignas(32) int8_t group[64];
    for (int64_t r = 0; r < kPanel; ++r) {
      for (int64_t i = 0; i < 4; ++i)
        group[r * 4 + i] = c + i < k && r < rows ? w[r * row_stride + (c + i) * column_stride] : int8_t{0};
    }
    for (int half = 0; half < 2; ++half)
      panel.put(c, half, _mm256_load_si256(reinterpret_cast<const __m256i*>(group + half * 32)));
  }
}

template <bool kUnsigned>
void pack(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    int32_t* begin = reinterpret_cast<int32_t*>(static_cast<char*>(packed) + j / kPanel * panel_bytes(k));
    const int8_t* from = w + j * row_stride;
    Panel panel(reinterpret_cast<int8_t*>(begin + kPanel));
    if (column_stride == 1) {
      pack_rows(from, row_stride, n - j, k, panel);
    } else if (row_stride == 1) {
      pack_columns(from, column_stride, n - j, k, panel);
    } else {
      pack_any(from, row_stride, column_stride, n - j, k, panel);
    }
    (kUnsigned ? Panel(nullptr) : panel).store_sums(begin);
  }
}

// Accumulators say what their lanes are, so that GCC keeps them in registers.
typedef int32_t Lanes __attribute__((vector_size(32)));

// C[R, V * 8] (+)= A[R, depth] * W^T for V / 2 adjacent panels, `panel_stride` bytes apart, of which `columns` columns
// exist.
template <int R, int V>
void multiply(const uint8_t* a, int64_t a_stride, const int8_t* w, int64_t panel_stride, int64_t depth, int32_t* c,
              int64_t c_stride, int64_t columns, bool accumulate) {
  Lanes sums[R][V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    const __m256i begin = _mm256_load_si256(reinterpret_cast<const __m256i*>(w + v / 2 * panel_stride + v % 2 * 32));
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) sums[i][v] = (Lanes)begin;
  }
  w += kPanel * static_cast<int64_t>(sizeof(int32_t));
  for (int64_t l = 0; l < depth; l += 4) {
    __m256i vectors[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      vectors[v] =
          _mm256_load_si256(reinterpret_cast<const __m256i*>(w + v / 2 * panel_stride + l * kPanel + v % 2 * 32));
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      int32_t four;
      __builtin_memcpy(&four, a + i * a_stride + l, sizeof four);
      __m256i values = _mm256_set1_epi32(four);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        sums[i][v] = (Lanes)_mm256_dpbusd_avx_epi32((__m256i)sums[i][v], values, vectors[v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      if (!accumulate && columns >= V * 8) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(c + i * c_stride + v * 8), (__m256i)sums[i][v]);
        continue;
      }
      __m256i mask = avx2::first_lanes(columns - v * 8);
      int32_t* to = c + i * c_stride + v * 8;
      Lanes before = accumulate ? (Lanes)_mm256_maskload_epi32(to, mask) : Lanes{};
      _mm256_maskstore_epi32(to, mask, (__m256i)(before + sums[i][v]));
    }
  }
}

using Multiply = void (*)(const uint8_t*, int64_t, const int8_t*, int64_t, int64_t, int32_t*, int64_t, int64_t, bool);
constexpr Multiply kOnePanel[kRows + 1] = {nullptr,        multiply<1, 2>, multiply<2, 2>, multiply<3, 2>,
                                           multiply<4, 2>, multiply<5, 2>, multiply<6, 2>};
// Few rows would leave the multipliers waiting for their own results, so several panels go side by side.
constexpr int kFewRows = 2;
constexpr Multiply kTwoPanels[kFewRows + 1] = {nullptr, multiply<1, 4>, multiply<2, 4>};
constexpr Multiply kFourPanels[2] = {nullptr, multiply<1, 8>};

void run(const uint8_t* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  const int8_t* panels = static_cast<const int8_t*>(packed);
  const int64_t depth = whole_depth(k), panel_stride = panel_bytes(k);
  int64_t blocks = (m + kRows - 1) / kRows;
  for (int64_t j = n_begin; j < n_end;) {
    int64_t left = (n_end - j + kPanel - 1) / kPanel;
    int64_t together = m == 1 && left >= 4 ? 4 : m <= kFewRows && left >= 2 ? 2 : 1;
    const Multiply* multiply_rows = together == 4 ? kFourPanels : together == 2 ? kTwoPanels : kOnePanel;
    for (int64_t block = 0; block < blocks; ++block) {
      int64_t row = m * block / blocks, rows = m * (block + 1) / blocks - row;
      multiply_rows[rows](a + row * a_stride, a_stride, panels + j / kPanel * panel_stride, panel_stride, depth,
                          c + row * c_stride + (j - n_begin), c_stride, n_end - j, accumulate);
    }
    j += together * kPanel;
  }
}

}  // namespace

void add_gemm_s8(KernelTable& table) {
  table.gemm_s8 = {kPanel, kRows, packed_bytes, pack<false>, run, 1, nullptr, pack<true>};
}

}  // namespace whittle::avxvnni
