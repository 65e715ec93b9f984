// GELU in its erf form (Hendrycks and Gimpel 2016): x * (1 + erf(x / sqrt 2)) / 2.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace whittle {

// y may be x.
void gelu(const float* x, int64_t count, float* y, const Context& context);
// dx = dy * gelu'(x); dx may be dy.
void gelu_backward(const float* x, const float* dy, int64_t count, float* dx, const Context& context);

}  // namespace whittle
