// int8 product with the 256-bit vpdpbusd of client CPUs, which multiplies unsigned by signed bytes: A comes as a + 128,
// and sums begin at -128 times the sum of W's row. Exact: dpbusd adds four products into int32 without saturation.
// Packed: panels of 16 rows of W, 64-byte aligned: what sums begin with, int32 [16], then element (r, c) at
// c / 4 * 64 + r * 4 + c % 4, with columns up to padded_k(k), which are zero.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2/masks.h"
#include "kernels/kernel_table.h"

namespace whittle::avxvnni {

namespace {

constexpr int64_t kPanel = 16;
constexpr int kRows = 6;  // 6 x 2 accumulators in 16 registers

int64_t panel_bytes(int64_t k) {
  return kPanel * (padded_k(k) + static_cast<int64_t>(sizeof(int32_t)));
}

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * panel_bytes(k);
}

void pack(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    int32_t* begin = reinterpret_cast<int32_t*>(static_cast<char*>(packed) + j / kPanel * panel_bytes(k));
    int8_t* panel = reinterpret_cast<int8_t*>(begin + kPanel);
    for (int64_t r = 0; r < kPanel; ++r) begin[r] = 0;
    for (int64_t c = 0; c < padded_k(k); ++c) {
      for (int64_t r = 0; r < kPanel; ++r) {
        const int8_t value = c < k && j + r < n ? w[(j + r) * row_stride + c * column_stride] : int8_t{0};
        panel[c / 4 * (kPanel * 4) + r * 4 + c % 4] = value;
        begin[r] -= 128 * value;
      }
    }
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
  const int64_t depth = padded_k(k), panel_stride = panel_bytes(k);
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
  table.gemm_s8 = {kPanel, kRows, packed_bytes, pack, run};
}

}  // namespace whittle::avxvnni
