#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

double square(float x, float scale) {
  const double scaled = static_cast<double>(x) * scale;
  return scaled * scaled;
}

void square_sums(const float* x, int64_t rows, int64_t cols, float scale, float* row_sums, float* column_sums) {
  for (int64_t r = 0; r < rows; ++r) {
    double sum = row_sums[r];
    for (int64_t c = 0; c < cols; ++c) sum += square(x[r * cols + c], scale);
    row_sums[r] = static_cast<float>(sum);
  }
  for (int64_t c = 0; c < cols; ++c) {
    double sum = column_sums[c];
    for (int64_t r = 0; r < rows; ++r) sum += square(x[r * cols + c], scale);
    column_sums[c] = static_cast<float>(sum);
  }
}

}  // namespace

void add_square_sums(KernelTable& table) {
  table.square_sums = square_sums;
}

}  // namespace whittle::ref
