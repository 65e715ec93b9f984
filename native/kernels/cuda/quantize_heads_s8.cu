// Rows to int8, a head at a time: for heads of sizes whose bytes do not come out of their product. A warp takes a head.
#include "kernels/cuda/rows.cuh"

namespace whittle::cuda {

namespace {

__global__ void __launch_bounds__(kRowThreads) quantize_heads_kernel(const HeadRows call) {
  const int64_t row = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y) * kRowWarps + static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32, size = static_cast<int>(call.head_size);
  if (row >= *call.rows || head >= call.heads) return;
  const float* x = call.x + (row * call.heads + head) * size;
  int8_t* y = call.y + row * call.y_stride + int64_t{head} * size;
  float largest = 0;
  for (int c = lane; c < size; c += 32) largest = fmaxf(largest, fabsf(x[c]));
  const RowScale scale{bits_float(warp_max(float_bits(largest))), false};  // compare like their bits
  if (lane == 0) call.scales[head * call.scale_stride + row] = scale.scale();
  const float inverse = scale.inverse();
  for (int c = lane; c < size; c += 32) y[c] = static_cast<int8_t>(float_bits(rounded_sum(x[c], inverse)));
  if (head == call.heads - 1)
    for (int64_t c = size + lane; head * int64_t{size} + c < call.y_stride; c += 32) y[c] = 0;
}

void quantize_heads_s8(const HeadRows& call, Stream stream) {
  launch(quantize_heads_kernel, {call.most_rows, (call.heads + kRowWarps - 1) / kRowWarps}, kRowThreads, 0, stream,
         call);
}

}  // namespace

void add_quantize_heads_s8(KernelTable& table) {
  table.quantize_heads_s8 = quantize_heads_s8;
}

}  // namespace whittle::cuda
