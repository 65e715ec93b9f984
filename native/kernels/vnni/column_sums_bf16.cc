#include "kernels/kernel_table.h"
#include "kernels/vnni/bf16_rows.h"

namespace whittle::vnni {

namespace {

void column_sums_bf16(const bf16* x, int64_t x_stride, int64_t rows, int64_t cols, float* sums) {
  int64_t c = 0;
  for (; c + 32 <= cols; c += 32) {
    __m512 first = _mm512_loadu_ps(sums + c), second = _mm512_loadu_ps(sums + c + 16);
    for (int64_t r = 0; r < rows; ++r) {
      first = _mm512_add_ps(first, load_16_as_floats(x + r * x_stride + c));
      second = _mm512_add_ps(second, load_16_as_floats(x + r * x_stride + c + 16));
    }
    _mm512_storeu_ps(sums + c, first);
    _mm512_storeu_ps(sums + c + 16, second);
  }
  for (; c < cols; ++c) {
    float sum = sums[c];
    for (int64_t r = 0; r < rows; ++r) {
      const uint32_t bits = static_cast<uint32_t>(x[r * x_stride + c]) << 16;
      float value;
      std::memcpy(&value, &bits, sizeof value);
      sum += value;
    }
    sums[c] = sum;
  }
}

}  // namespace

void add_column_sums_bf16(KernelTable& table) {
  table.column_sums_bf16 = column_sums_bf16;
}

}  // namespace whittle::vnni
