#include "kernels/kernel_table.h"
#include "kernels/ref/float16.h"

namespace whittle::ref {

namespace {

void scale_sums_f16(const int32_t* sums, int64_t stride, int64_t rows, int64_t cols, const float* factors, float* y,
                    int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      y[r * y_stride + c] = round_to_f16(static_cast<float>(sums[r * stride + c]) * factors[r]);
}

}  // namespace

void add_scale_sums_f16(KernelTable& table) {
  table.scale_sums_f16 = scale_sums_f16;
}

}  // namespace whittle::ref
