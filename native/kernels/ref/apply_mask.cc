#include "kernels/kernel_table.h"

namespace whittle::ref {

void apply_mask(float* x, const uint8_t* mask, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = mask[i] ? x[i] : 0;
}

}  // namespace whittle::ref
