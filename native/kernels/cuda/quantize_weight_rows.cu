// Rows of weights to int8 with a scale each, as compress/quantize_weight.cc: bit for bit, sums of squares included,
// which go through the same 32 lanes.
#include "kernels/cuda/launch.cuh"
#include "kernels/weight_grid.h"

namespace whittle::cuda {

namespace {

constexpr int kWeightWarps = 8;  // a row each

__device__ __forceinline__ double warp_sum(double value) {
  for (int half = 16; half > 0; half /= 2) value = add(value, shuffle_xor(value, half));
  return value;
}

// See ops/weight_rows.cc.
__device__ __forceinline__ bool is_near_grid(const float* row, int64_t cols, int lane, float inverse, float scale) {
  double sum = 0;
  int count = 0;
  for (int64_t c = lane; c < cols; c += 32) {
    const int rounded = round_to_int(multiply(row[c], inverse));
    if (rounded > -2 && rounded < 2) continue;
    const double off = static_cast<double>(row[c]) / static_cast<double>(scale) - static_cast<double>(rounded);
    sum = add(sum, multiply(off, off));
    ++count;
  }
  sum = warp_sum(sum);
  for (int half = 16; half > 0; half /= 2) count += shuffle_xor(count, half);
  return near_grid(sum, count);
}

__global__ void __launch_bounds__(32 * kWeightWarps) quantize_weight_rows_kernel(const WeightRows w) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kWeightWarps + static_cast<int>(threadIdx.x) / 32;
  if (r >= w.rows) return;
  const float* row = w.w + r * w.cols;
  int8_t* q = w.q + r * w.cols;
  float largest = 0;
  for (int64_t c = lane; c < w.cols; c += 32) largest = fmaxf(largest, fabsf(row[c]));
  largest = bits_float(warp_max(float_bits(largest)));
  const bool zeros = largest < 1e-36f;
  const float inverse = zeros ? 0.0f : 127.0f / largest;
  float scale = zeros ? 0.0f : largest / 127.0f;
  const bool coarser = is_near_grid(row, w.cols, lane, inverse, scale);
  if (coarser) scale = multiply(scale, kCoarserGrid);
  const bool empty = scale < kLeastWeightScale;
  if (empty) scale = 1;
  double error = 0, weight = 0;
  for (int64_t c = lane; c < w.cols; c += 32) {
    const int rounded = empty ? 0 : coarser ? round_to_int(row[c] / scale) : round_to_int(multiply(row[c], inverse));
    const int8_t stored = static_cast<int8_t>(rounded);
    q[c] = stored;
    const double value = static_cast<double>(row[c]);
    const double difference = add(value, -multiply(static_cast<double>(stored), static_cast<double>(scale)));
    error = add(error, multiply(difference, difference));
    weight = add(weight, multiply(value, value));
  }
  error = warp_sum(error);
  weight = warp_sum(weight);
  if (lane == 0) {
    w.scales[r] = scale;
    w.errors[r] = error;
    w.weights[r] = weight;
  }
}

void run_quantize_weight_rows(const WeightRows& w, Stream stream) {
  launch(quantize_weight_rows_kernel, {(w.rows + kWeightWarps - 1) / kWeightWarps}, 32 * kWeightWarps, 0, stream, w);
}

}  // namespace

void add_quantize_weight_rows(KernelTable& table) {
  table.quantize_weight_rows = run_quantize_weight_rows;
}

}  // namespace whittle::cuda
