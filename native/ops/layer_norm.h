// LayerNorm over rows (Ba, Kiros and Hinton 2016).
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace whittle {

// y = (x - mean) / sqrt(variance + eps) * gamma + beta. x, y: [rows, cols] without gaps; mean, rstd: [rows] or null. y
// may be x.
void layer_norm(const float* x, int64_t rows, int64_t cols, const float* gamma, const float* beta, float eps, float* y,
                float* mean, float* rstd, const Context& context);

// dx [rows, cols] from dy; dgamma, dbeta [cols] are overwritten. Partial sums over blocks of a fixed number of rows,
// added in order.
void layer_norm_backward(const float* dy, const float* x, const float* gamma, const float* mean, const float* rstd,
                         int64_t rows, int64_t cols, float* dx, float* dgamma, float* dbeta, const Context& context);

}  // namespace whittle
