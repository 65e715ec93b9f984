// int8 weights of a checkpoint: symmetric, one scale a row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/context.h"

namespace whittle {

struct QuantizedWeight {
  double relative_error;  // ||w - q * scale||_2 / ||w||_2 of the whole tensor; 0 for a tensor of zeros
};

// w: [rows, cols] row-major; q: [rows, cols], rounded half to even; scales: [rows], max |w[r, :]| / 127, or
// somewhat more for rows near the grid of an earlier rounding (ops/weight_rows.h). A row of zeros, or so near it that
// the scale would be denormal, becomes zeros with scale 1, since readers may divide by it. Throws BAD_CHECKPOINT naming
// the tensor and row of a NaN or infinity.
QuantizedWeight quantize_weight(const std::string& name, const float* w, int64_t rows, int64_t cols, int8_t* q,
                                float* scales, const Context& context);

// The relative error from each row's sums of squares, of the error and of the weights. Throws as quantize_weight.
QuantizedWeight relative_error_of(const std::string& name, const std::vector<double>& errors,
                                  const std::vector<double>& weights);

}  // namespace whittle
