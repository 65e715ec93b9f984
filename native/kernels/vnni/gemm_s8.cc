// int8 product with vpdpbusd, which multiplies unsigned by signed bytes: A comes as a + 128, for which sums begin at
// -128 times the sum of W's row, or as it is. Exact: dpbusd adds four products into int32 without saturation.
// Packed: panels of 32 rows of W, 64-byte aligned: what sums begin with, int32 [32], then element (r, c) at
// c / 4 * 128 + r * 4 + c % 4, with columns up to a multiple of 16, which are zero.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "kernels/vnni/pack_s8.h"

namespace whittle::vnni {

namespace {

constexpr int64_t kPanel = 32;
constexpr int kRows = 12;  // 12 x 2 accumulators, 2 vectors of W and broadcasts in 32 registers

int64_t whole_depth(int64_t k) {
  return (k + 15) / 16 * 16;
}

int64_t panel_bytes(int64_t k) {
  return kPanel * (whole_depth(k) + static_cast<int64_t>(sizeof(int32_t)));
}

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * panel_bytes(k);
}

template <bool kUnsigned>
void pack(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    int8_t* begin = static_cast<int8_t*>(packed) + j / kPanel * panel_bytes(k);
    int8_t* panel = begin + kPanel * static_cast<int64_t>(sizeof(int32_t));
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t row = j + half * 16;
      const __m512i sums = pack_16_rows(w + row * row_stride, row_stride, column_stride, n - row, k, whole_depth(k),
                                        [&](int64_t c) { return panel + c * kPanel + half * 64; });
      const __m512i times_128 = _mm512_slli_epi32(sums, 7), zero = _mm512_setzero_si512();
      _mm512_store_si512(begin + half * 64, kUnsigned ? zero : _mm512_sub_epi32(zero, times_128));
    }
  }
}

// Accumulators say what their lanes are: GCC would copy accumulators of type __m512i in and out of every dpbusd.
typedef int32_t Lanes __attribute__((vector_size(64)));

// C[R, V * 16] (+)= A[R, depth] * W^T for V / 2 adjacent panels (V = 1: the first half of one), `panel_stride` bytes
// apart; masks: which columns of each 16 exist. From `ahead` on, memory is fetched into the second-level cache,
// `ahead_step` bytes a step: a part of the panel that comes next, which no prefetcher of the CPU knows of while this
// one is multiplied again and again.
template <int R, int V>
void multiply(const uint8_t* a, int64_t a_stride, const int8_t* w, int64_t panel_stride, int64_t depth, int32_t* c,
              int64_t c_stride, const __mmask16* masks, bool accumulate, const char* ahead, int64_t ahead_step) {
  Lanes sums[R][V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    const __m512i begin = _mm512_load_si512(w + v / 2 * panel_stride + v % 2 * 64);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) sums[i][v] = (Lanes)begin;
  }
  w += kPanel * static_cast<int64_t>(sizeof(int32_t));
#pragma GCC unroll 4
  for (int64_t l = 0; l < depth; l += 4, ahead += ahead_step) {
    _mm_prefetch(ahead, _MM_HINT_T1);
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
        sums[i][v] = (Lanes)_mm512_dpbusd_epi32((__m512i)sums[i][v], values, columns[v]);
      }
    }
  }
  if (!accumulate && masks[V - 1] == 0xffff) {  // and so are the others
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i, c += c_stride) {
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) _mm512_storeu_si512(c + v * 16, (__m512i)sums[i][v]);
    }
    return;
  }
  __mmask16 kept[V];  // what c points to might be the masks, for all the compiler knows
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) kept[v] = masks[v];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i, c += c_stride) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      int32_t* out = c + v * 16;
      __m512i before = accumulate ? _mm512_maskz_loadu_epi32(kept[v], out) : _mm512_setzero_si512();
      _mm512_mask_storeu_epi32(out, kept[v], _mm512_add_epi32(before, (__m512i)sums[i][v]));
    }
  }
}

using Multiply = void (*)(const uint8_t*, int64_t, const int8_t*, int64_t, int64_t, int32_t*, int64_t, const __mmask16*,
                          bool, const char*, int64_t);
constexpr Multiply kOnePanel[kRows + 1] = {
    nullptr,        multiply<1, 2>, multiply<2, 2>, multiply<3, 2>,  multiply<4, 2>,  multiply<5, 2>, multiply<6, 2>,
    multiply<7, 2>, multiply<8, 2>, multiply<9, 2>, multiply<10, 2>, multiply<11, 2>, multiply<12, 2>};
// Few rows would leave the multipliers waiting for their own results, so several panels go side by side.
constexpr int kFewRows = 6;
constexpr Multiply kTwoPanels[kFewRows + 1] = {nullptr,        multiply<1, 4>, multiply<2, 4>, multiply<3, 4>,
                                               multiply<4, 4>, multiply<5, 4>, multiply<6, 4>};
constexpr Multiply kHalfPanel[kRows + 1] = {
    nullptr,        multiply<1, 1>, multiply<2, 1>, multiply<3, 1>,  multiply<4, 1>,  multiply<5, 1>, multiply<6, 1>,
    multiply<7, 1>, multiply<8, 1>, multiply<9, 1>, multiply<10, 1>, multiply<11, 1>, multiply<12, 1>};
constexpr int kVeryFewRows = 2;
constexpr Multiply kFourPanels[kVeryFewRows + 1] = {nullptr, multiply<1, 8>, multiply<2, 8>};

void run(const uint8_t* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  const int8_t* panels = static_cast<const int8_t*>(packed);
  const int64_t depth = whole_depth(k), panel_stride = panel_bytes(k);
  int64_t blocks = (m + kRows - 1) / kRows;
  for (int64_t j = n_begin; j < n_end;) {
    int64_t left = (n_end - j + kPanel - 1) / kPanel;
    int64_t together = m <= kVeryFewRows && left >= 4 ? 4 : m <= kFewRows && left >= 2 ? 2 : 1;
    __mmask16 masks[8];
    for (int64_t v = 0; v < together * 2; ++v) {
      int64_t columns = n_end - j - v * 16;
      masks[v] = columns >= 16 ? 0xffff : columns > 0 ? static_cast<__mmask16>((1u << columns) - 1) : 0;
    }
    const Multiply* multiply_rows = together == 4    ? kFourPanels
                                    : together == 2  ? kTwoPanels
                                    : n_end - j > 16 ? kOnePanel
                                                     : kHalfPanel;
    const int8_t* panel = panels + j / kPanel * panel_stride;
    // The last panel's successor is another matrix or nothing: fetching is harmless.
    const char* next = reinterpret_cast<const char*>(panel + together * panel_stride);
    const int64_t fetched = together * panel_stride / blocks;  // by each block of rows
    for (int64_t block = 0; block < blocks; ++block) {
      int64_t row = m * block / blocks, rows = m * (block + 1) / blocks - row;
      multiply_rows[rows](a + row * a_stride, a_stride, panel, panel_stride, depth, c + row * c_stride + (j - n_begin),
                          c_stride, masks, accumulate, next + block * fetched, fetched * 4 / depth);
    }
    j += together * kPanel;
  }
}

}  // namespace

void add_gemm_s8(KernelTable& table) {
  table.gemm_s8 = {kPanel, kRows, packed_bytes, pack<false>, run, 1, nullptr, pack<true>};
}

}  // namespace whittle::vnni
