#include <cmath>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void quantize_rows_s8(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int8_t* q, int64_t q_stride,
                      float* scales) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    float largest = 0;
    for (int64_t c = 0; c < cols; ++c) {
      float magnitude = std::fabs(row[c]);
      if (magnitude > largest) largest = magnitude;
    }
    bool zeros = largest < 1e-36f;
    float inverse = zeros ? 0.0f : 127.0f / largest;
    scales[r] = zeros ? 0.0f : largest / 127.0f;
    int8_t* out = q + r * q_stride;
    // nearbyint rounds half to even, as the vector conversions do.
    for (int64_t c = 0; c < cols; ++c) out[c] = static_cast<int8_t>(std::nearbyintf(row[c] * inverse));
    for (int64_t c = cols; c < padded_k(cols); ++c) out[c] = 0;
  }
}

}  // namespace

void add_quantize_rows_s8(KernelTable& table) {
  table.quantize_rows_s8 = quantize_rows_s8;
}

}  // namespace whittle::ref
