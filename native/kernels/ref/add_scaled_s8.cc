#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void add_scaled_s8(const int8_t* w, int32_t q, int64_t count, int32_t* c) {
  for (int64_t i = 0; i < count; ++i) c[i] += q * w[i];
}

}  // namespace

void add_add_scaled_s8(KernelTable& table) {
  table.add_scaled_s8 = add_scaled_s8;
}

}  // namespace whittle::ref
