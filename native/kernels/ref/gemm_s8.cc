// Packed: panels of 16 rows of W; a panel is what sums begin with, int32 [16], then element (r, c) at c * 16 + r. A
// comes as a + 128 (after pack), for which sums begin at -128 times the sum of W's row, or as a (after pack_unsigned).
#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

constexpr int64_t kPanel = 16;

int64_t panel_bytes(int64_t k) {
  return kPanel * (k + static_cast<int64_t>(sizeof(int32_t)));
}

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * panel_bytes(k);
}

template <int32_t kZero>
void pack(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    int32_t* begin = reinterpret_cast<int32_t*>(static_cast<char*>(packed) + j / kPanel * panel_bytes(k));
    int8_t* panel = reinterpret_cast<int8_t*>(begin + kPanel);
    for (int64_t r = 0; r < kPanel; ++r) begin[r] = 0;
    for (int64_t c = 0; c < k; ++c) {
      for (int64_t r = 0; r < kPanel; ++r) {
        const int8_t value = j + r < n ? w[(j + r) * row_stride + c * column_stride] : int8_t{0};
        panel[c * kPanel + r] = value;
        begin[r] -= kZero * value;
      }
    }
  }
}

void run(const uint8_t* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    const int32_t* begin =
        reinterpret_cast<const int32_t*>(static_cast<const char*>(packed) + j / kPanel * panel_bytes(k));
    const int8_t* panel = reinterpret_cast<const int8_t*>(begin + kPanel);
    int64_t columns = n_end - j < kPanel ? n_end - j : kPanel;
    for (int64_t i = 0; i < m; ++i) {
      int32_t sums[kPanel];
      for (int64_t r = 0; r < kPanel; ++r) sums[r] = begin[r];
      for (int64_t l = 0; l < k; ++l) {
        for (int64_t r = 0; r < kPanel; ++r) sums[r] += a[i * a_stride + l] * panel[l * kPanel + r];
      }
      int32_t* out = c + i * c_stride + (j - n_begin);
      for (int64_t r = 0; r < columns; ++r) out[r] = accumulate ? out[r] + sums[r] : sums[r];
    }
  }
}

}  // namespace

void add_gemm_s8(KernelTable& table) {
  table.gemm_s8 = {kPanel, 1, packed_bytes, pack<128>, run, 1, nullptr, pack<0>};
}

}  // namespace whittle::ref
