// int8 weights that are rounded for the inputs they will meet.
#pragma once

#include <cstdint>
#include <string>

#include "compress/quantize_weight.h"
#include "ops/context.h"

namespace whittle {

// As quantize_weight, but columns are rounded one after another and what rounding a column costs in the products x w^T is
// made up by the columns that are still to be rounded (GPTQ; Frantar et al. 2023, section 3). A row's scale is the one,
// between 0.6 and 1 times that of quantize_weight, at which plain rounding costs its products least, had the inputs no
// correlations: cutting a few large weights may leave all others finer steps.
// gram: [cols, cols], the sum of (x - m)^T (x - m) over calibration inputs x [cols], with m their mean if the caller
// puts what the mean loses into the bias, else 0. relative_error is that of the weight itself,
// which is larger than with plain rounding; the error of the products is what gets smaller.
// Throws BAD_CHECKPOINT as quantize_weight does, and BAD_DATA if gram holds a NaN or infinity.
QuantizedWeight quantize_weight_compensated(const std::string& name, const float* w, const float* gram, int64_t rows,
                                            int64_t cols, int8_t* q, float* scales, const Context& context);

}  // namespace whittle
