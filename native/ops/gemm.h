// Linear layers over packed weights, and general matrix products for training.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/context.h"

namespace whittle {

enum class Precision : int { float32 = 0, bfloat16, int8 };

// Read-only weights of one linear layer, W [n, k], in the layout of one ISA.
struct PackedWeight {
  Precision precision = Precision::float32;
  int64_t n = 0, k = 0;
  AlignedBuffer data;
  std::vector<float> scales;  // [n], int8 only: w = q * scale
  std::vector<int32_t> sums;  // [n], int8 only: of the rows of q
  // int8 only: up to so many elements of an activation row may stay beyond int8, see kernels/outliers.h.
  int outliers = 0;
  AlignedBuffer columns;  // [k, n], W^T as stored, if there are outliers
};

// w: [n, k] row-major. int8 quantizes symmetrically, one scale an output row: scale = max |w| / 127.
// outliers: of activation rows, at most kMostOutliers; for int8 only.
PackedWeight pack_weight(const float* w, int64_t n, int64_t k, Precision precision, const Context& context,
                         int outliers = 0);
// q: [n, k] row-major int8 as stored in a checkpoint, scales: [n].
PackedWeight pack_weight_s8(const int8_t* q, const float* scales, int64_t n, int64_t k, const Context& context,
                            int outliers = 0);

struct Linear {
  const float* x;  // [m, k], rows x_stride apart
  int64_t x_stride;
  int64_t m;
  const PackedWeight* weight;  // [n, k]
  const float* bias;           // [n] or null
  Activation activation;
  const float* residual;  // [m, n] or null, added after the activation
  int64_t residual_stride;
  float* y;  // [m, n]
  int64_t y_stride;
};

// y = activation(x W^T + bias) + residual, at the precision of the weight (int8: activations quantized row by row).
void linear(const Linear& arguments, const Context& context);

// At least as many bytes of the caller's arena as linear() takes for up to m rows, on up to `threads` threads.
int64_t most_linear_scratch(const PackedWeight& weight, int64_t m, int threads, const KernelTable& kernels);

// C[m, n] (+)= A[m, k] B[k, n] with A(i, l) = a[i * a_row + l * a_column], B(l, j) = b[l * b_row + j * b_column], so
// any operand may be transposed. precision float32 or bfloat16 (operands rounded to bf16, float32 accumulation; falls
// back to float32 where the table has no bf16).
struct Matmul {
  int64_t m, n, k;
  const float* a;
  int64_t a_row, a_column;
  const float* b;
  int64_t b_row, b_column;
  float* c;  // rows c_row apart
  int64_t c_row;
  bool accumulate;
};
void matmul(const Matmul& arguments, Precision precision, const Context& context);

}  // namespace whittle
