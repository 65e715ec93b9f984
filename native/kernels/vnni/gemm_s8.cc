// int8 product with vpdpbusd, which multiplies unsigned by signed bytes: W is packed as w + 128, and 128 times the sum
// of A's row is taken off again. Exact for all of [-128, 127]: dpbusd adds four products into int32 without saturation.
// Packed: panels of 32 rows of W, 64-byte aligned; in a panel, element (r, c) lies at c / 4 * 128 + r * 4 + c % 4, with
// columns up to padded_k(k), where A is zero.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::vnni {

namespace {

constexpr int64_t kPanel = 32;
constexpr int kRows = 12;          // 12 x 2 accumulators, 2 vectors of W and broadcasts in 32 registers
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
  __m512i sum = _mm512_setzero_si512(), factor = _mm512_set1_epi8(static_cast<char>(128));
  for (int64_t l = 0; l < depth; l += 64) sum = _mm512_dpbusd_epi32(sum, factor, _mm512_loadu_si512(a + l));
  return _mm512_reduce_add_epi32(sum);
}

// Accumulators say what their lanes are: GCC would copy accumulators of type __m512i in and out of every dpbusd.
typedef int32_t Lanes __attribute__((vector_size(64)));

// C[R, V * 16] (+)= A[R, depth] * W^T for V / 2 adjacent panels; masks: which columns of each 16 exist.
template <int R, int V>
void multiply(const int8_t* a, int64_t a_stride, const uint8_t* w, int64_t panel_stride, int64_t depth,
              const int32_t* offsets, int32_t* c, int64_t c_stride, const __mmask16* masks, bool accumulate) {
  Lanes sums[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sums[i][v] = (Lanes)_mm512_set1_epi32(-offsets[i]);
  }
  for (int64_t l = 0; l < depth; l += 4) {
    __m512i columns[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) columns[v] = _mm512_load_si512(w + v / 2 * panel_stride + l * kPanel + v % 2 * 64);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      int32_t four;
      __builtin_memcpy(&four, a + i * a_stride + l, sizeof four);
      __m512i values = _mm512_set1_epi32(four);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        sums[i][v] = (Lanes)_mm512_dpbusd_epi32((__m512i)sums[i][v], columns[v], values);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      int32_t* out = c + i * c_stride + v * 16;
      __m512i before = accumulate ? _mm512_maskz_loadu_epi32(masks[v], out) : _mm512_setzero_si512();
      _mm512_mask_storeu_epi32(out, masks[v], _mm512_add_epi32(before, (__m512i)sums[i][v]));
    }
  }
}

using Multiply = void (*)(const int8_t*, int64_t, const uint8_t*, int64_t, int64_t, const int32_t*, int32_t*, int64_t,
                          const __mmask16*, bool);
constexpr Multiply kOnePanel[kRows + 1] = {
    nullptr,        multiply<1, 2>, multiply<2, 2>, multiply<3, 2>,  multiply<4, 2>,  multiply<5, 2>, multiply<6, 2>,
    multiply<7, 2>, multiply<8, 2>, multiply<9, 2>, multiply<10, 2>, multiply<11, 2>, multiply<12, 2>};
// Few rows would leave the multipliers waiting for their own results, so several panels go side by side.
constexpr int kFewRows = 6;
constexpr Multiply kTwoPanels[kFewRows + 1] = {nullptr,        multiply<1, 4>, multiply<2, 4>, multiply<3, 4>,
                                               multiply<4, 4>, multiply<5, 4>, multiply<6, 4>};
constexpr int kVeryFewRows = 2;
constexpr Multiply kFourPanels[kVeryFewRows + 1] = {nullptr, multiply<1, 8>, multiply<2, 8>};

// As run(), for at most kMostRows rows.
void run_rows(const int8_t* a, int64_t a_stride, const uint8_t* panels, int64_t m, int64_t depth, int64_t n_begin,
              int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  int32_t offsets[kMostRows];
  for (int64_t i = 0; i < m; ++i) offsets[i] = offset_of_row(a + i * a_stride, depth);
  int64_t blocks = (m + kRows - 1) / kRows;
  for (int64_t j = n_begin; j < n_end;) {
    int64_t left = (n_end - j + kPanel - 1) / kPanel;
    int64_t together = m <= kVeryFewRows && left >= 4 ? 4 : m <= kFewRows && left >= 2 ? 2 : 1;
    __mmask16 masks[8];
    for (int64_t v = 0; v < together * 2; ++v) {
      int64_t columns = n_end - j - v * 16;
      masks[v] = columns >= 16 ? 0xffff : columns > 0 ? static_cast<__mmask16>((1u << columns) - 1) : 0;
    }
    const Multiply* multiply_rows = together == 4 ? kFourPanels : together == 2 ? kTwoPanels : kOnePanel;
    for (int64_t block = 0; block < blocks; ++block) {
      int64_t row = m * block / blocks, rows = m * (block + 1) / blocks - row;
      multiply_rows[rows](a + row * a_stride, a_stride, panels + j * depth, kPanel * depth, depth, offsets + row,
                          c + row * c_stride + (j - n_begin), c_stride, masks, accumulate);
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

}  // namespace whittle::vnni
