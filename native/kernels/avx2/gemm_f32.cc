// float32 product with 256-bit FMA.
// Packed: panels of 16 rows of W, 64-byte aligned; in a panel, element (r, c) lies at c * 16 + r.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2/masks.h"
#include "kernels/avx2/transpose.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

constexpr int64_t kPanel = 16;
constexpr int kRows = 6;         // 6 x 2 accumulators, 2 vectors of W and one broadcast fit the 16 registers
constexpr int64_t kDepth = 256;  // columns of A taken at once: a panel's part is 16 KB, half a first-level cache

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * k * static_cast<int64_t>(sizeof(float));
}

// Packs 8 rows, `rows` of which exist (may be negative), of one panel.
void pack_8_rows(const float* w, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t k, float* panel) {
  if (row_stride == 1) {
    __m256i mask = first_lanes(rows);
    for (int64_t c = 0; c < k; ++c) {
      _mm256_store_ps(panel + c * kPanel, _mm256_maskload_ps(w + c * column_stride, mask));
    }
  } else if (column_stride == 1) {
    for (int64_t c = 0; c < k; c += 8) {
      __m256 t[8];
      load_transposed(w + c, row_stride, rows, k - c, t);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        if (c + i < k) _mm256_store_ps(panel + (c + i) * kPanel, t[i]);
      }
    }
  } else {
    for (int64_t c = 0; c < k; ++c) {
      for (int64_t r = 0; r < 8; ++r) {
        panel[c * kPanel + r] = r < rows ? w[r * row_stride + c * column_stride] : 0.0f;
      }
    }
  }
}

void pack(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    float* panel = static_cast<float*>(packed) + j * k;
    pack_8_rows(w + j * row_stride, row_stride, column_stride, n - j, k, panel);
    pack_8_rows(w + (j + 8) * row_stride, row_stride, column_stride, n - j - 8, k, panel + 8);
  }
}

// C[R, V * 8] (+)= A[R, depth] * W^T for V / 2 adjacent panels, of which `columns` columns exist.
template <int R, int V>
void multiply(const float* a, int64_t a_stride, const float* w, int64_t panel_stride, int64_t depth, float* c,
              int64_t c_stride, int64_t columns, bool accumulate) {
  const bool whole = columns >= V * 8;
  __m256 sums[R][V];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sums[i][v] = _mm256_setzero_ps();
  }
  if (accumulate) {
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        const float* from = c + i * c_stride + v * 8;
        sums[i][v] = whole ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, first_lanes(columns - v * 8));
      }
    }
  }
  for (int64_t l = 0; l < depth; ++l) {
    __m256 vectors[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) vectors[v] = _mm256_load_ps(w + v / 2 * panel_stride + l * kPanel + v % 2 * 8);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      __m256 value = _mm256_broadcast_ss(a + i * a_stride + l);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sums[i][v] = _mm256_fmadd_ps(value, vectors[v], sums[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      float* to = c + i * c_stride + v * 8;
      if (whole) {
        _mm256_storeu_ps(to, sums[i][v]);
      } else {
        _mm256_maskstore_ps(to, first_lanes(columns - v * 8), sums[i][v]);
      }
    }
  }
}

using Multiply = void (*)(const float*, int64_t, const float*, int64_t, int64_t, float*, int64_t, int64_t, bool);
constexpr Multiply kOnePanel[kRows + 1] = {nullptr,        multiply<1, 2>, multiply<2, 2>, multiply<3, 2>,
                                           multiply<4, 2>, multiply<5, 2>, multiply<6, 2>};
// Few rows would leave the multipliers waiting for their own results, so several panels go side by side.
constexpr int kFewRows = 2;
constexpr Multiply kTwoPanels[kFewRows + 1] = {nullptr, multiply<1, 4>, multiply<2, 4>};
constexpr Multiply kFourPanels[2] = {nullptr, multiply<1, 8>};

void run(const float* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, float* c, int64_t c_stride, bool accumulate) {
  const float* panels = static_cast<const float*>(packed);
  int64_t blocks = (m + kRows - 1) / kRows;
  for (int64_t begin = 0; begin == 0 || begin < k; begin += kDepth) {
    int64_t depth = k - begin < kDepth ? k - begin : kDepth;
    for (int64_t j = n_begin; j < n_end;) {
      int64_t left = (n_end - j + kPanel - 1) / kPanel;
      int64_t together = m == 1 && left >= 4 ? 4 : m <= kFewRows && left >= 2 ? 2 : 1;
      const Multiply* multiply_rows = together == 4 ? kFourPanels : together == 2 ? kTwoPanels : kOnePanel;
      for (int64_t block = 0; block < blocks; ++block) {
        int64_t row = m * block / blocks, rows = m * (block + 1) / blocks - row;
        multiply_rows[rows](a + row * a_stride + begin, a_stride, panels + j * k + begin * kPanel, kPanel * k, depth,
                            c + row * c_stride + (j - n_begin), c_stride, n_end - j, accumulate || begin > 0);
      }
      j += together * kPanel;
    }
  }
}

}  // namespace

void add_gemm_f32(KernelTable& table) {
  table.gemm_f32 = {kPanel, kRows, packed_bytes, pack, run};
}

}  // namespace whittle::avx2
