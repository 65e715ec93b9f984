#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

double sum_of_squares(const float* x, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

}  // namespace

void add_sum_of_squares(KernelTable& table) {
  table.sum_of_squares = sum_of_squares;
}

}  // namespace whittle::ref
