#include <cstdint>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void add_columns_s8(const int8_t* w, int64_t w_stride, const int32_t* columns, const int32_t* values, int count,
                    int64_t n, int32_t* c) {
  for (int j = 0; j < count; ++j) {
    const int8_t* column = w + columns[j] * w_stride;
    for (int64_t i = 0; i < n; ++i) c[i] += values[j] * column[i];
  }
}

}  // namespace

void add_add_columns_s8(KernelTable& table) {
  table.add_columns_s8 = add_columns_s8;
}

}  // namespace whittle::ref
