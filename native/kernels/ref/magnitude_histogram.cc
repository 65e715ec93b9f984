#include <cstring>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void magnitude_histogram(const float* x, int64_t count, int64_t* counts) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    ++counts[bits >> 16 & 0x7fff];
  }
}

}  // namespace

void add_magnitude_histogram(KernelTable& table) {
  table.magnitude_histogram = magnitude_histogram;
}

}  // namespace whittle::ref
