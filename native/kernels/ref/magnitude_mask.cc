#include <cmath>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void magnitude_mask(const float* x, int64_t count, float threshold, uint8_t* mask) {
  for (int64_t i = 0; i < count; ++i) mask[i] = std::fabs(x[i]) > threshold;
}

}  // namespace

void add_magnitude_mask(KernelTable& table) {
  table.magnitude_mask = magnitude_mask;
}

}  // namespace whittle::ref
