#include <cstring>

#include "kernels/kernel_table.h"

namespace whittle::ref {

void magnitude_histogram(const float* x, int64_t count, int64_t* counts) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    ++counts[bits >> 16 & 0x7fff];
  }
}

}  // namespace whittle::ref
