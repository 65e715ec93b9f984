// Sums over rows (gradients of biases and LayerNorm parameters): one partial sum a block of rows, added in order, so
// that they don't depend on the number of threads.
#pragma once

#include <cstdint>
#include <cstring>

#include "ops/context.h"

namespace whittle {

class PartialSums {
 public:
  PartialSums(int64_t blocks, int64_t cols, Arena& arena)
      : blocks_(blocks), cols_(cols), sums_(arena.take<float>(blocks * cols)) {
    std::memset(sums_, 0, static_cast<size_t>(blocks * cols) * sizeof(float));
  }
  // [cols]
  float* of(int64_t block) const { return sums_ + block * cols_; }
  // total [cols] is overwritten, unless null.
  void merge(float* total, const KernelTable& kernels) const {
    if (!total) return;
    std::memset(total, 0, static_cast<size_t>(cols_) * sizeof(float));
    kernels.column_sums(sums_, cols_, blocks_, cols_, total);
  }

 private:
  int64_t blocks_, cols_;
  float* sums_;  // [blocks, cols]
};

}  // namespace whittle
