// Results of GELU to bytes, of which one stands for 0.
#include "kernels/cuda/row_quads.cuh"

namespace whittle::cuda {

void add_quantize_gelu_u8(KernelTable& table) {
  table.quantize_gelu_u8 = run_rows<RowForm::gelu, true>;
}

}  // namespace whittle::cuda
