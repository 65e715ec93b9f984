// Softmax over rows.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace whittle {

// x, y: [rows, cols] without gaps; y may be x.
void softmax(const float* x, int64_t rows, int64_t cols, float* y, const Context& context);
// dx = y * (dy - sum over the row of y * dy).
void softmax_backward(const float* y, const float* dy, int64_t rows, int64_t cols, float* dx, const Context& context);

}  // namespace whittle
