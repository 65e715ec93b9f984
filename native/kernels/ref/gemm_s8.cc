// Packed: panels of 16 rows of W; in a panel, element (r, c) lies at c * 16 + r.
#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

constexpr int64_t kPanel = 16;

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * k;
}

void pack(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    int8_t* panel = static_cast<int8_t*>(packed) + j * k;
    for (int64_t c = 0; c < k; ++c) {
      for (int64_t r = 0; r < kPanel; ++r) {
        panel[c * kPanel + r] = j + r < n ? w[(j + r) * row_stride + c * column_stride] : int8_t{0};
      }
    }
  }
}

void run(const uint8_t* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    const int8_t* panel = static_cast<const int8_t*>(packed) + j * k;
    int64_t columns = n_end - j < kPanel ? n_end - j : kPanel;
    for (int64_t i = 0; i < m; ++i) {
      int32_t sums[kPanel] = {};
      for (int64_t l = 0; l < k; ++l) {
        for (int64_t r = 0; r < kPanel; ++r) sums[r] += (a[i * a_stride + l] - 128) * panel[l * kPanel + r];
      }
      int32_t* out = c + i * c_stride + (j - n_begin);
      for (int64_t r = 0; r < columns; ++r) out[r] = accumulate ? out[r] + sums[r] : sums[r];
    }
  }
}

}  // namespace

void add_gemm_s8(KernelTable& table) {
  table.gemm_s8 = {kPanel, 1, packed_bytes, pack, run};
}

}  // namespace whittle::ref
