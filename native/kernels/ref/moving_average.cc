#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

void moving_average(float* average, const float* x, int64_t count, float share) {
  for (int64_t i = 0; i < count; ++i) {
    average[i] = static_cast<float>(average[i] + share * (static_cast<double>(x[i]) - average[i]));
  }
}

}  // namespace

void add_moving_average(KernelTable& table) {
  table.moving_average = moving_average;
}

}  // namespace whittle::ref
