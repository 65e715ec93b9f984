// The two packed forms of a weight that training in bf16 multiplies with: kept beside the weight, they are written
// where the weight is updated, and no step has to pack.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace whittle {

// Of W [n, k], in the layout of gemm_bf16; null: there is none.
struct PackedForms {
  void* own = nullptr;         // of W, for the forward pass
  void* transposed = nullptr;  // of W^T, for the backward pass

  // Floats of a buffer, aligned to kAlignment, that holds both.
  static int64_t floats(int64_t n, int64_t k, const KernelTable& kernels) {
    return (own_bytes(n, k, kernels) + kernels.gemm_bf16.packed_bytes(k, n) + 3) / 4;
  }
  static PackedForms within(float* buffer, int64_t n, int64_t k, const KernelTable& kernels) {
    return {buffer, reinterpret_cast<char*>(buffer) + own_bytes(n, k, kernels)};
  }

 private:
  static int64_t own_bytes(int64_t n, int64_t k, const KernelTable& kernels) {
    const int64_t line = static_cast<int64_t>(kAlignment);
    return (kernels.gemm_bf16.packed_bytes(n, k) + line - 1) / line * line;
  }
};

}  // namespace whittle
