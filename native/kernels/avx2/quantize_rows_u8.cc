#include "kernels/avx2/quantize_row_u8.h"

namespace whittle::avx2 {

namespace {

void quantize_rows_u8(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int most, uint8_t* q,
                      int64_t q_stride, float* scales, RowOutliers* outliers) {
  for (int64_t r = 0; r < rows; ++r)
    quantize_row_u8(x + r * x_stride, cols, most, q + r * q_stride, scales + r, most > 0 ? outliers + r : nullptr);
}

}  // namespace

void add_quantize_rows_u8(KernelTable& table) {
  table.quantize_rows_u8 = quantize_rows_u8;
}

}  // namespace whittle::avx2
