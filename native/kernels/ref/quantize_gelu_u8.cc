#include <cmath>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void quantize_gelu_u8(const float* x, int64_t x_stride, int64_t rows, int64_t cols, uint8_t* q, int64_t q_stride,
                      float* scales, int32_t* offsets) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * x_stride;
    float largest = 0;
    for (int64_t c = 0; c < cols; ++c) largest = row[c] > largest ? row[c] : largest;
    const float range = largest + kGeluLowest, inverse = 254.0f / range;
    const int32_t zero = static_cast<int32_t>(std::nearbyintf(kGeluLowest * inverse));
    scales[r] = range / 254.0f;
    offsets[r] = 128 - zero;
    uint8_t* out = q + r * q_stride;
    const float shift = static_cast<float>(zero - 128);
    for (int64_t c = 0; c < cols; ++c)
      out[c] = static_cast<uint8_t>(static_cast<int32_t>(std::nearbyintf(std::fma(row[c], inverse, shift))) + 128);
    for (int64_t c = cols; c < padded_k(cols); ++c) out[c] = 128;
  }
}

}  // namespace

void add_quantize_gelu_u8(KernelTable& table) {
  table.quantize_gelu_u8 = quantize_gelu_u8;
}

}  // namespace whittle::ref
