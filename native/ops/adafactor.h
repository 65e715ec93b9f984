// A step of Adafactor (Shazeer and Stern 2018, in the form of torch.optim.Adafactor) over all parameters in one call.
#pragma once

#include "ops/parameter_update.h"

namespace whittle {

// The second moment is kept as the means of a matrix's rows and columns, or element by element (a matrix of one row
// whose row mean is not kept).
struct AdafactorTensor : ParameterUpdate {
  int64_t rows, columns;  // rows * columns = count
  float* row_means;       // [rows]; null if the moment is kept element by element, with rows = 1
  float* column_means;    // [columns]
  int64_t step;           // 1 at the first update
};

struct AdafactorOptions {
  double beta2_decay;     // the decay of the second moment is 1 - step^beta2_decay
  double clip_threshold;  // most root mean square of an update
  double epsilon;         // least root mean square that a parameter is taken to have
  float gradient_scale;   // clipping
};

void adafactor(const std::vector<AdafactorTensor>& tensors, const AdafactorOptions& options, const Context& context);

}  // namespace whittle
