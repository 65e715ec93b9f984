#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void clip_by_value(float* x, int64_t count, float limit) {
  for (int64_t i = 0; i < count; ++i) x[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
}

}  // namespace

void add_clip_by_value(KernelTable& table) {
  table.clip_by_value = clip_by_value;
}

}  // namespace whittle::ref
