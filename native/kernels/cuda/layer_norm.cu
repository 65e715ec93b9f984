// LayerNorm of float32 rows, stored as float32 and in the form that the next product reads.
#include "kernels/cuda/norm_rows.cuh"
#include "kernels/cuda/shared_rows.cuh"

namespace whittle::cuda {

namespace {

template <int kPlaces, bool kWhole>
__global__ void __launch_bounds__(kRowThreads, kNormBlocks<kWhole>) layer_norm_kernel(const Rows rows) {
  NormRow<kPlaces, kWhole> row;
  if (!row.find(*rows.rows, rows.cols)) return;
  row.read(rows.in + row.row * row.cols + row.lane, [](float value) { return value; });
  row.finish(rows.result);
}

void run_layer_norm(const Rows& rows, Stream stream) {
  const bool fits = start_norm_rows<true>(rows.cols, rows.result, [&](auto shape) {
    launch(layer_norm_kernel<decltype(shape)::kPlaces, decltype(shape)::kWhole>, norm_grid(rows.most_rows), kRowThreads,
           0, stream, rows);
  });
  if (!fits) run_shared_rows(rows, stream);
}

}  // namespace

void add_layer_norm(KernelTable& table) {
  table.layer_norm = run_layer_norm;
}

}  // namespace whittle::cuda
