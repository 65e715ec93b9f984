// Results of GELU to bytes, of which one stands for 0.
#include "kernels/cuda/rows.cuh"

namespace whittle::cuda {

namespace {

__global__ void __launch_bounds__(kRowThreads, kRowBlocks) quantize_gelu_u8_kernel(const Rows rows) {
  const WarpRow row = warp_row(static_cast<int>(rows.cols));
  if (row.row >= *rows.rows) return;
  read_row(row, rows);
  finish_row(row, static_cast<int>(rows.cols), rows.result);
}

void run_quantize_gelu_u8(const Rows& rows, Stream stream) {
  launch(quantize_gelu_u8_kernel, row_grid(rows.most_rows), kRowThreads, row_shared_bytes(rows.cols), stream, rows);
}

}  // namespace

void add_quantize_gelu_u8(KernelTable& table) {
  table.quantize_gelu_u8 = run_quantize_gelu_u8;
}

}  // namespace whittle::cuda
