// float32 product with 512-bit FMA.
// Packed: panels of 32 rows of W, 64-byte aligned; in a panel, element (r, c) lies at c * 32 + r.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx512/transpose.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

namespace {

constexpr int64_t kPanel = 32;
constexpr int kRows = 14;        // 14 x 2 accumulators, 2 vectors of W and one broadcast fill the 32 registers
constexpr int64_t kDepth = 256;  // columns of A taken at once: a panel's part is 32 KB

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * k * static_cast<int64_t>(sizeof(float));
}

// Packs columns [c_begin, c_end) of one panel whose first `rows` rows exist.
void pack_panel(const float* w, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t c_begin, int64_t c_end,
                float* panel) {
  if (row_stride == 1) {
    __mmask16 low = rows >= 16 ? 0xffff : static_cast<__mmask16>((1u << rows) - 1);
    __mmask16 high = rows >= 32 ? 0xffff : rows > 16 ? static_cast<__mmask16>((1u << (rows - 16)) - 1) : 0;
    for (int64_t c = c_begin; c < c_end; ++c) {
      _mm512_store_ps(panel + c * kPanel, _mm512_maskz_loadu_ps(low, w + c * column_stride));
      _mm512_store_ps(panel + c * kPanel + 16, _mm512_maskz_loadu_ps(high, w + c * column_stride + 16));
    }
  } else if (column_stride == 1) {
    for (int64_t half = 0; half < kPanel; half += 16) {
      transpose_16_rows(w + half * row_stride + c_begin, row_stride, rows - half, c_end - c_begin,
                        panel + c_begin * kPanel + half, kPanel);
    }
  } else {
    for (int64_t c = c_begin; c < c_end; ++c) {
      for (int64_t r = 0; r < kPanel; ++r) {
        panel[c * kPanel + r] = r < rows ? w[r * row_stride + c * column_stride] : 0.0f;
      }
    }
  }
}

void pack(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  // Where neighbors in memory belong to different panels, all panels take a few columns before the next ones come.
  const int64_t step = row_stride == 1 ? 16 : k > 0 ? k : 1;
  for (int64_t c = 0; c < k; c += step) {
    for (int64_t j = n_begin; j < n_end; j += kPanel) {
      pack_panel(w + j * row_stride, row_stride, column_stride, n - j, c, c + step < k ? c + step : k,
                 static_cast<float*>(packed) + j * k);
    }
  }
}

// C[R, V * 16] (+)= A[R, depth] * W^T for V / 2 adjacent panels; masks: which columns of each 16 exist.
template <int R, int V>
void multiply(const float* a, int64_t a_stride, const float* w, int64_t panel_stride, int64_t depth, float* c,
              int64_t c_stride, const __mmask16* masks, bool accumulate) {
  __m512 sums[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      sums[i][v] = accumulate ? _mm512_maskz_loadu_ps(masks[v], c + i * c_stride + v * 16) : _mm512_setzero_ps();
    }
  }
  for (int64_t l = 0; l < depth; ++l) {
    __m512 columns[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) columns[v] = _mm512_load_ps(w + v / 2 * panel_stride + l * kPanel + v % 2 * 16);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      __m512 value = _mm512_set1_ps(a[i * a_stride + l]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sums[i][v] = _mm512_fmadd_ps(value, columns[v], sums[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) _mm512_mask_storeu_ps(c + i * c_stride + v * 16, masks[v], sums[i][v]);
  }
}

using Multiply = void (*)(const float*, int64_t, const float*, int64_t, int64_t, float*, int64_t, const __mmask16*,
                          bool);
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

void run(const float* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, float* c, int64_t c_stride, bool accumulate) {
  const float* panels = static_cast<const float*>(packed);
  // Equal blocks of rows: 96 rows are 7 blocks of 13 or 14.
  int64_t blocks = (m + kRows - 1) / kRows;
  for (int64_t begin = 0; begin == 0 || begin < k; begin += kDepth) {
    int64_t depth = k - begin < kDepth ? k - begin : kDepth;
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
        multiply_rows[rows](a + row * a_stride + begin, a_stride, panels + j * k + begin * kPanel, kPanel * k, depth,
                            c + row * c_stride + (j - n_begin), c_stride, masks, accumulate || begin > 0);
      }
      j += together * kPanel;
    }
  }
}

}  // namespace

void add_gemm_f32(KernelTable& table) {
  table.gemm_f32 = {kPanel, kRows, packed_bytes, pack, run};
}

}  // namespace whittle::avx512
