// Rows to int8, outliers apart.
#include "kernels/cuda/row_quads.cuh"

namespace whittle::cuda {

void add_quantize_rows_s8(KernelTable& table) {
  table.quantize_rows_s8 = run_rows<RowForm::int8>;
}

}  // namespace whittle::cuda
