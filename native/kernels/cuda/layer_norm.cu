// LayerNorm of float32 or float16 rows, stored as float32 and in the form that the next product reads.
#include "kernels/cuda/norm_rows.cuh"
#include "kernels/cuda/shared_rows.cuh"

namespace whittle::cuda {

namespace {

template <int kPlaces, bool kWhole, bool kHalves>
__global__ void __launch_bounds__(kRowThreads, kNormBlocks<kPlaces, kWhole, kHalves>) layer_norm_kernel(const Rows rows) {
  constexpr bool kOrdered = kHalves && kWhole;
  NormRow<kPlaces, kWhole, kOrdered> row;
  if (!row.find(*rows.rows, rows.cols)) return;
  const int64_t first = int64_t{row.row} * row.cols + row.lane;
  if constexpr (kOrdered)
    row.read_ordered(rows.halves + int64_t{row.row} * row.cols);
  else if constexpr (kHalves)
    row.read(rows.halves + first, half_value);
  else
    row.read(rows.in + first, [](float value) { return value; });
  row.finish(rows.result);
}

template <bool kHalves>
void run_norm(const Rows& rows, Stream stream) {
  const bool fits = start_norm_rows<true>(rows.cols, rows.result, [&](auto shape) {
    launch(layer_norm_kernel<decltype(shape)::kPlaces, decltype(shape)::kWhole, kHalves>, norm_grid(rows.most_rows),
           kRowThreads, 0, stream, rows);
  });
  if (!fits) run_shared_rows(rows, stream);
}

void run_layer_norm(const Rows& rows, Stream stream) {
  if (rows.halves)
    run_norm<true>(rows, stream);
  else
    run_norm<false>(rows, stream);
}

}  // namespace

void add_layer_norm(KernelTable& table) {
  table.layer_norm = run_layer_norm;
}

}  // namespace whittle::cuda
