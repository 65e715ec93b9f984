#include <cmath>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void quantize_heads_s8(const float* x, int64_t x_stride, int64_t rows, int64_t heads, int64_t head_size, uint8_t flip,
                       int8_t* q, int64_t q_stride, float* scales, int64_t scale_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      const float* head = x + r * x_stride + h * head_size;
      float largest = 0;
      for (int64_t c = 0; c < head_size; ++c) {
        const float magnitude = std::fabs(head[c]);
        if (magnitude > largest) largest = magnitude;
      }
      const bool zeros = largest < 1e-36f;
      const float inverse = zeros ? 0.0f : 127.0f / largest;
      scales[h * scale_stride + r] = zeros ? 0.0f : largest / 127.0f;
      int8_t* out = q + r * q_stride + h * head_size;
      // nearbyint rounds half to even, as the vector conversions do.
      for (int64_t c = 0; c < head_size; ++c) {
        const int8_t rounded = static_cast<int8_t>(std::nearbyintf(head[c] * inverse));
        out[c] = static_cast<int8_t>(static_cast<uint8_t>(rounded) ^ flip);
      }
    }
  }
}

}  // namespace

void add_quantize_heads_s8(KernelTable& table) {
  table.quantize_heads_s8 = quantize_heads_s8;
}

}  // namespace whittle::ref
