#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void apply_mask(float* x, const uint8_t* mask, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = mask[i] ? x[i] : 0;
}

}  // namespace

void add_apply_mask(KernelTable& table) {
  table.apply_mask = apply_mask;
}

}  // namespace whittle::ref
