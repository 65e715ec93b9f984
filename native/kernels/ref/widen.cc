#include "formats/half.h"
#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void widen_f16(const uint16_t* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = half_to_float(x[i]);
}

void widen_s8(const int8_t* x, float scale, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<float>(x[i]) * scale;
}

}  // namespace

void add_widen(KernelTable& table) {
  table.widen_f16 = widen_f16;
  table.widen_s8 = widen_s8;
}

}  // namespace whittle::ref
