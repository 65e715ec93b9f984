// bf16 product with vdpbf16ps: two products a lane and step, float32 accumulation.
// Packed: panels of 32 rows of W, 64-byte aligned; in a panel, element (r, c) lies at c / 2 * 64 + r * 2 + c % 2, with
// columns up to padded_k(k), which are zero.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "kernels/vnni/bf16_rows.h"

namespace whittle::vnni {

namespace {

constexpr int64_t kPanel = 32;
constexpr int kRows = 14;        // 14 x 2 accumulators, 2 vectors of W and one broadcast fill the 32 registers
constexpr int64_t kDepth = 512;  // columns of A taken at once: a panel's part is 32 KB

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * padded_k(k) * static_cast<int64_t>(sizeof(bf16));
}

__m512bh pairs(__m512i x) {
  return (__m512bh)x;
}

template <bool kStream>
void pack_panels(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
                 int64_t n_end, void* packed) {
  for_each_part(row_stride, k, n_begin, n_end, kPanel, [&](int64_t j, int64_t c_begin, int64_t c_end) {
    bf16* panel = static_cast<bf16*>(packed) + j * padded_k(k);
    for (int64_t half = 0; half < kPanel; half += 16) {
      pack_16_rows<kStream>(w + (j + half) * row_stride, row_stride, column_stride, n - j - half, k, c_begin, c_end,
                            [&](int64_t c) { return panel + c * kPanel + half * 2; });
    }
  });
}

void pack(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  pack_panels<false>(w, row_stride, column_stride, n, k, n_begin, n_end, packed);
}

void pack_transposed_bf16(const bf16* x, int64_t x_stride, int64_t n, int64_t k, int64_t n_begin, int64_t n_end,
                          void* packed) {
  pack_transposed(x, x_stride, n, k, n_begin, n_end, [&](int64_t j, int64_t c, int64_t half) {
    return static_cast<bf16*>(packed) + j * padded_k(k) + c * kPanel + half * 32;
  });
}

void pack_weight_bf16(const float* w, int64_t n, int64_t k, int64_t begin, int64_t end, void* packed,
                      void* transposed) {
  pack_panels<true>(w, k, 1, n, k, begin, end, packed);
  pack_columns(w, n, k, begin, end, [&](int64_t j, int64_t c, int64_t half) {
    return static_cast<bf16*>(transposed) + j * padded_k(n) + c * kPanel + half * 32;
  });
  _mm_sfence();
}

// C[R, V * 16] (+)= A[R, depth] * W^T for V / 2 adjacent panels; masks: which columns of each 16 exist.
template <int R, int V>
void multiply(const bf16* a, int64_t a_stride, const bf16* w, int64_t panel_stride, int64_t depth, float* c,
              int64_t c_stride, const __mmask16* masks, bool accumulate) {
  __m512 sums[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      sums[i][v] = accumulate ? _mm512_maskz_loadu_ps(masks[v], c + i * c_stride + v * 16) : _mm512_setzero_ps();
    }
  }
  for (int64_t l = 0; l < depth; l += 2) {
    __m512i columns[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) columns[v] = _mm512_load_si512(w + v / 2 * panel_stride + l * kPanel + v % 2 * 32);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      int32_t two;
      __builtin_memcpy(&two, a + i * a_stride + l, sizeof two);
      __m512i values = _mm512_set1_epi32(two);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sums[i][v] = _mm512_dpbf16_ps(sums[i][v], pairs(values), pairs(columns[v]));
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) _mm512_mask_storeu_ps(c + i * c_stride + v * 16, masks[v], sums[i][v]);
  }
}

using Multiply = void (*)(const bf16*, int64_t, const bf16*, int64_t, int64_t, float*, int64_t, const __mmask16*, bool);
constexpr Multiply kOnePanel[kRows + 1] = {nullptr,         multiply<1, 2>,  multiply<2, 2>,  multiply<3, 2>,
                                           multiply<4, 2>,  multiply<5, 2>,  multiply<6, 2>,  multiply<7, 2>,
                                           multiply<8, 2>,  multiply<9, 2>,  multiply<10, 2>, multiply<11, 2>,
                                           multiply<12, 2>, multiply<13, 2>, multiply<14, 2>};
// Few rows would leave the multipliers waiting for their own results, so several panels go side by side.
constexpr int kFewRows = 6;
constexpr Multiply kTwoPanels[kFewRows + 1] = {nullptr,        multiply<1, 4>, multiply<2, 4>, multiply<3, 4>,
                                               multiply<4, 4>, multiply<5, 4>, multiply<6, 4>};
constexpr int kVeryFewRows = 2;
constexpr Multiply kFourPanels[kVeryFewRows + 1] = {nullptr, multiply<1, 8>, multiply<2, 8>};

void run(const bf16* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, float* c, int64_t c_stride, bool accumulate) {
  const bf16* panels = static_cast<const bf16*>(packed);
  const int64_t all = padded_k(k), blocks = (m + kRows - 1) / kRows;
  for (int64_t begin = 0; begin == 0 || begin < all; begin += kDepth) {
    int64_t depth = all - begin < kDepth ? all - begin : kDepth;
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
        multiply_rows[rows](a + row * a_stride + begin, a_stride, panels + j * all + begin * kPanel, kPanel * all,
                            depth, c + row * c_stride + (j - n_begin), c_stride, masks, accumulate || begin > 0);
      }
      j += together * kPanel;
    }
  }
}

}  // namespace

void add_gemm_bf16(KernelTable& table) {
  table.gemm_bf16 = {kPanel, kRows, packed_bytes, pack, run};
  table.pack_transposed_bf16 = pack_transposed_bf16;
  table.pack_weight_bf16 = pack_weight_bf16;
}

}  // namespace whittle::vnni
