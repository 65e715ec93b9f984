// int8 product with the 256-bit vpdpbusd of client CPUs, which multiplies unsigned by signed bytes: W is packed as
// w + 128, and 128 times the sum of A's row is taken off again. Exact for all of [-128, 127].
// Packed: panels of 16 rows of W, 64-byte aligned; in a panel, element (r, c) lies at c / 4 * 64 + r * 4 + c % 4, with
// columns up to padded_k(k), where A is zero.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2/masks.h"
#include "kernels/kernel_table.h"

namespace whittle::avxvnni {

namespace {

constexpr int64_t kPanel = 16;
constexpr int kRows = 6;           // 6 x 2 accumulators in 16 registers
constexpr int64_t kMostRows = 96;  // of A at once: one int32 a row on the stack

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * padded_k(k);
}

void pack(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    uint8_t* panel = static_cast<uint8_t*>(packed) + j * padded_k(k);
    for (int64_t c = 0; c < padded_k(k); ++c) {
      for (int64_t r = 0; r < kPanel; ++r) {
        int value = c < k && j + r < n ? w[(j + r) * row_stride + c * column_stride] : 0;
        panel[c / 4 * (kPanel * 4) + r * 4 + c % 4] = static_cast<uint8_t>(value + 128);
      }
    }
  }
}

// 128 times the sum of a row of A [depth], depth a multiple of 64.
int32_t offset_of_row(const int8_t* a, int64_t depth) {
  __m256i sum = _mm256_setzero_si256(), factor = _mm256_set1_epi8(static_cast<char>(128));
  for (int64_t l = 0; l < depth; l += 32) {
    sum = _mm256_dpbusd_avx_epi32(sum, factor, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + l)));
  }
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

// Accumulators say what their lanes are, so that GCC keeps them in registers.
typedef int32_t Lanes __attribute__((vector_size(32)));

// C[R, V * 8] (+)= A[R, depth] * W^T for V / 2 adjacent panels, of which `columns` columns exist.
template <int R, int V>
void multiply(const int8_t* a, int64_t a_stride, const uint8_t* w, int64_t panel_stride, int64_t depth,
              const int32_t* offsets, int32_t* c, int64_t c_stride, int64_t columns, bool accumulate) {
  Lanes sums[R][V];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sums[i][v] = (Lanes)_mm256_set1_epi32(-offsets[i]);
  }
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
        sums[i][v] = (Lanes)_mm256_dpbusd_avx_epi32((__m256i)sums[i][v], vectors[v], values);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      __m256i mask = avx2::first_lanes(columns - v * 8);
      int32_t* to = c + i * c_stride + v * 8;
      Lanes before = accumulate ? (Lanes)_mm256_maskload_epi32(to, mask) : Lanes{};
      _mm256_maskstore_epi32(to, mask, (__m256i)(before + sums[i][v]));
    }
  }
}

using Multiply = void (*)(const int8_t*, int64_t, const uint8_t*, int64_t, int64_t, const int32_t*, int32_t*, int64_t,
                          int64_t, bool);
constexpr Multiply kOnePanel[kRows + 1] = {nullptr,        multiply<1, 2>, multiply<2, 2>, multiply<3, 2>,
                                           multiply<4, 2>, multiply<5, 2>, multiply<6, 2>};
// Few rows would leave the multipliers waiting for their own results, so several panels go side by side.
constexpr int kFewRows = 2;
constexpr Multiply kTwoPanels[kFewRows + 1] = {nullptr, multiply<1, 4>, multiply<2, 4>};
constexpr Multiply kFourPanels[2] = {nullptr, multiply<1, 8>};

// As run(), for at most kMostRows rows.
void run_rows(const int8_t* a, int64_t a_stride, const uint8_t* panels, int64_t m, int64_t depth, int64_t n_begin,
              int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  int32_t offsets[kMostRows];
  for (int64_t i = 0; i < m; ++i) offsets[i] = offset_of_row(a + i * a_stride, depth);
  int64_t blocks = (m + kRows - 1) / kRows;
  for (int64_t j = n_begin; j < n_end;) {
    int64_t left = (n_end - j + kPanel - 1) / kPanel;
    int64_t together = m == 1 && left >= 4 ? 4 : m <= kFewRows && left >= 2 ? 2 : 1;
    const Multiply* multiply_rows = together == 4 ? kFourPanels : together == 2 ? kTwoPanels : kOnePanel;
    for (int64_t block = 0; block < blocks; ++block) {
      int64_t row = m * block / blocks, rows = m * (block + 1) / blocks - row;
      multiply_rows[rows](a + row * a_stride, a_stride, panels + j * depth, kPanel * depth, depth, offsets + row,
                          c + row * c_stride + (j - n_begin), c_stride, n_end - j, accumulate);
    }
    j += together * kPanel;
  }
}

void run(const int8_t* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  for (int64_t row = 0; row < m; row += kMostRows) {
    int64_t rows = m - row < kMostRows ? m - row : kMostRows;
    run_rows(a + row * a_stride, a_stride, static_cast<const uint8_t*>(packed), rows, padded_k(k), n_begin, n_end,
             c + row * c_stride, c_stride, accumulate);
  }
}

}  // namespace

void add_gemm_s8(KernelTable& table) {
  table.gemm_s8 = {kPanel, kRows, packed_bytes, pack, run};
}

}  // namespace whittle::avxvnni
