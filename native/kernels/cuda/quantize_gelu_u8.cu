// GELU, and its results to bytes, of which one stands for 0. GELU is here rather than behind the product before it,
// since memory bounds this kernel and its arithmetic is free, while a product needs its shared memory for operands.
#include "kernels/cuda/row_quads.cuh"

namespace whittle::cuda {

void add_quantize_gelu_u8(KernelTable& table) {
  table.quantize_gelu_u8 = run_rows<RowForm::gelu>;
}

}  // namespace whittle::cuda
