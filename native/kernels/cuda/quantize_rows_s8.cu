// Rows to int8, outliers apart.
#include "kernels/cuda/rows.cuh"

namespace whittle::cuda {

namespace {

__global__ void __launch_bounds__(kRowThreads, kRowBlocks) quantize_rows_s8_kernel(const Rows rows) {
  const WarpRow row = warp_row(static_cast<int>(rows.cols));
  if (row.row >= *rows.rows) return;
  read_row(row, rows);
  finish_row(row, static_cast<int>(rows.cols), rows.result);
}

void run_quantize_rows_s8(const Rows& rows, Stream stream) {
  launch(quantize_rows_s8_kernel, row_grid(rows.most_rows), kRowThreads, row_shared_bytes(rows.cols), stream, rows);
}

}  // namespace

void add_quantize_rows_s8(KernelTable& table) {
  table.quantize_rows_s8 = run_quantize_rows_s8;
}

}  // namespace whittle::cuda
