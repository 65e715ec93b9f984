// LayerNorm of float32 rows, stored as float32 and in the form that the next product reads.
#include "kernels/cuda/rows.cuh"

namespace whittle::cuda {

namespace {

__global__ void __launch_bounds__(kRowThreads, kRowBlocks) layer_norm_kernel(const Rows rows) {
  const WarpRow row = warp_row(static_cast<int>(rows.cols));
  if (row.row >= *rows.rows) return;
  read_row(row, rows);
  finish_row(row, static_cast<int>(rows.cols), rows.result);
}

void run_layer_norm(const Rows& rows, Stream stream) {
  launch(layer_norm_kernel, row_grid(rows.most_rows), kRowThreads, row_shared_bytes(rows.cols), stream, rows);
}

}  // namespace

void add_layer_norm(KernelTable& table) {
  table.layer_norm = run_layer_norm;
}

}  // namespace whittle::cuda
