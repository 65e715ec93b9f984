// Rows to bf16, or to two bf16 each.
#include "kernels/cuda/rows.cuh"

namespace whittle::cuda {

namespace {

__global__ void __launch_bounds__(kRowThreads, kRowBlocks) convert_f32_bf16_kernel(const Rows rows) {
  const WarpRow row = warp_row(static_cast<int>(rows.cols));
  if (row.row >= *rows.rows) return;
  read_row(row, rows);
  finish_row(row, static_cast<int>(rows.cols), rows.result);
}

void run_convert_f32_bf16(const Rows& rows, Stream stream) {
  launch(convert_f32_bf16_kernel, row_grid(rows.most_rows), kRowThreads, row_shared_bytes(rows.cols), stream, rows);
}

}  // namespace

void add_convert_f32_bf16(KernelTable& table) {
  table.convert_f32_bf16 = run_convert_f32_bf16;
}

}  // namespace whittle::cuda
