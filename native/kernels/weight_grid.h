// When a row of weights lies near the grid of an earlier rounding, for CPUs and GPUs. See ops/weight_rows.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace whittle {

inline constexpr float kCoarserGrid = 1.07f;
// Rows of a smaller scale become zeros with scale 1.
inline constexpr float kLeastWeightScale = std::numeric_limits<float>::min();

// A sum over a row in 32 lanes, lane c % 32 for column c, added as i + 16, i + 8, and so on.
struct WeightSum {
  double lanes[32] = {};
  double total() {
    for (int half = 16; half > 0; half /= 2)
      for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    return lanes[0];
  }
};

// Whether what rounding took away, in steps, is neither nothing nor spread evenly over [-1/2, 1/2], whose mean square
// is 1/12. `squares`: the sum of its squares over `count` elements that are more than one step large; smaller ones are
// left out: the tails of a row with few large weights are spread unevenly too. Static, as outlier_limit is.
#if defined(__CUDACC__)
__host__ __device__
#endif
static inline bool near_grid(double squares, int64_t count) {
  constexpr int64_t kFewest = 64;  // elements that tell what a row is
  if (count < kFewest) return false;
  const double mean = squares / static_cast<double>(count);
  // Six standard deviations of the mean of that many squares.
  return mean > 2.5e-5 && mean < 1.0 / 12 - 6 * 0.0745 / sqrt(static_cast<double>(count));
}

}  // namespace whittle
