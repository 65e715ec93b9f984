#include "training/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "cpu/error.h"
#include "ops/softmax.h"

namespace whittle {

CrossEntropy softmax_cross_entropy(const float* logits, const int32_t* labels, int64_t rows, int64_t classes,
                                   float* dlogits, const Context& context) {
  int64_t counted = 0;
  for (int64_t r = 0; r < rows; ++r) {
    if (labels[r] == kIgnoredLabel) continue;
    if (labels[r] < 0 || labels[r] >= classes) {
      throw Error("BAD_OPTION", "Expected labels from 0 to " + std::to_string(classes - 1) + ", or -100, but labels[" +
                                    std::to_string(r) + "] is " + std::to_string(labels[r]));
    }
    ++counted;
  }
  Arena::Scope scope(context.arena);
  float* probabilities = dlogits ? dlogits : context.arena.take<float>(rows * classes);
  softmax(logits, rows, classes, probabilities, context);
  double total = 0;
  for (int64_t r = 0; r < rows; ++r) {
    float* row = probabilities + r * classes;
    if (labels[r] == kIgnoredLabel) {
      if (dlogits) std::fill(row, row + classes, 0.0f);
      continue;
    }
    // The log-sum-exp of the row, not the log of its probability, which may round to 0.
    const float* in = logits + r * classes;
    const double highest = *std::max_element(in, in + classes);
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += std::exp(in[c] - highest);
    total += highest + std::log(sum) - in[labels[r]];
    if (dlogits) {
      row[labels[r]] -= 1;
      const float share = 1 / static_cast<float>(counted);
      for (int64_t c = 0; c < classes; ++c) row[c] *= share;
    }
  }
  return {counted ? total / static_cast<double>(counted) : 0, counted};
}

}  // namespace whittle
