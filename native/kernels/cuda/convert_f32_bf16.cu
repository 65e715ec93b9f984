// Rows to bf16, or to two bf16 each.
#include "kernels/cuda/row_quads.cuh"

namespace whittle::cuda {

void add_convert_f32_bf16(KernelTable& table) {
  table.convert_f32_bf16 = run_rows<RowForm::bf16>;
}

}  // namespace whittle::cuda
