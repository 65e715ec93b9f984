// Softmax cross-entropy against class ids.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace whittle {

inline constexpr int32_t kIgnoredLabel = -100;

struct CrossEntropy {
  double loss;      // mean over the rows that count, 0 if none does
  int64_t counted;  // rows whose label is not kIgnoredLabel
};

// logits: [rows, classes]; labels: [rows]; dlogits: [rows, classes], the gradient of the mean, or null.
// Throws BAD_OPTION for a label that is neither a class nor kIgnoredLabel.
CrossEntropy softmax_cross_entropy(const float* logits, const int32_t* labels, int64_t rows, int64_t classes,
                                   float* dlogits, const Context& context);

}  // namespace whittle
