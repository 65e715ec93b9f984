// Packed: panels of 16 rows of W; in a panel, element (r, c) lies at c * 16 + r. Sums in double: this is the oracle.
#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"
#include "kernels/ref/bfloat16.h"

namespace whittle::ref {

namespace {

constexpr int64_t kPanel = 16;

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * k * static_cast<int64_t>(sizeof(bf16));
}

void pack(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    bf16* panel = static_cast<bf16*>(packed) + j * k;
    for (int64_t c = 0; c < k; ++c) {
      for (int64_t r = 0; r < kPanel; ++r) {
        panel[c * kPanel + r] = j + r < n ? to_bf16(w[(j + r) * row_stride + c * column_stride]) : bf16{0};
      }
    }
  }
}

void pack_transposed_bf16(const bf16* x, int64_t x_stride, int64_t n, int64_t k, int64_t n_begin, int64_t n_end,
                          void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    bf16* panel = static_cast<bf16*>(packed) + j * k;
    for (int64_t c = 0; c < k; ++c) {
      for (int64_t r = 0; r < kPanel; ++r) panel[c * kPanel + r] = j + r < n ? x[c * x_stride + j + r] : bf16{0};
    }
  }
}

void pack_weight_bf16(const float* w, int64_t n, int64_t k, int64_t begin, int64_t end, void* packed,
                      void* transposed) {
  pack(w, k, 1, n, k, begin, end, packed);
  for (int64_t j = 0; j < k; j += kPanel) {
    bf16* panel = static_cast<bf16*>(transposed) + j * n;
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t r = 0; r < kPanel; ++r) panel[c * kPanel + r] = j + r < k ? to_bf16(w[c * k + j + r]) : bf16{0};
    }
  }
}

void run(const bf16* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, float* c, int64_t c_stride, bool accumulate) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    const bf16* panel = static_cast<const bf16*>(packed) + j * k;
    int64_t columns = n_end - j < kPanel ? n_end - j : kPanel;
    for (int64_t i = 0; i < m; ++i) {
      double sums[kPanel] = {};
      for (int64_t l = 0; l < k; ++l) {
        double value = to_f32(a[i * a_stride + l]);
        for (int64_t r = 0; r < kPanel; ++r) sums[r] += value * to_f32(panel[l * kPanel + r]);
      }
      float* out = c + i * c_stride + (j - n_begin);
      for (int64_t r = 0; r < columns; ++r) out[r] = static_cast<float>(accumulate ? out[r] + sums[r] : sums[r]);
    }
  }
}

}  // namespace

void add_gemm_bf16(KernelTable& table) {
  table.gemm_bf16 = {kPanel, 1, packed_bytes, pack, run};
  table.pack_transposed_bf16 = pack_transposed_bf16;
  table.pack_weight_bf16 = pack_weight_bf16;
}

}  // namespace whittle::ref
