// How rows of activations become int8 on a GPU, one value at a time, after kernels/cuda/kernel_table.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/cuda/kernel_table.h"
#include "kernels/outliers.h"

namespace whittle::test {

struct QuantizedRow {
  std::vector<int8_t> q;
  float scale = 0;
  int32_t offset = 0;
  std::vector<cuda::Outlier> outliers;  // in the order of the columns
};

inline QuantizedRow quantize_row(std::vector<float> x, int most) {
  std::vector<float> magnitudes;
  for (const float value : x) magnitudes.push_back(std::fabs(value));
  std::sort(magnitudes.rbegin(), magnitudes.rend());
  QuantizedRow row;
  float limit = magnitudes[0];
  if (most > 0 && static_cast<int>(x.size()) > most &&
      outlier_limit(magnitudes[0], magnitudes[static_cast<size_t>(most)], &limit)) {
    const float inverse = 127.0f / limit;
    for (size_t c = 0; c < x.size(); ++c) {
      if (std::fabs(x[c]) <= limit) continue;
      row.outliers.push_back(
          {static_cast<int32_t>(c), static_cast<int32_t>(std::nearbyint(x[c] * inverse)) - (x[c] > 0 ? 127 : -127)});
      x[c] = std::copysign(limit, x[c]);
    }
  }
  const bool zeros = limit < 1e-36f;
  row.scale = zeros ? 0 : limit / 127.0f;
  const float inverse = zeros ? 0 : 127.0f / limit;
  for (const float value : x) row.q.push_back(static_cast<int8_t>(std::nearbyint(value * inverse)));
  return row;
}

inline QuantizedRow quantize_gelu_row(const std::vector<float>& x) {
  QuantizedRow row;
  const float range = std::max(0.0f, *std::max_element(x.begin(), x.end())) + cuda::kGeluLowest;
  const float inverse = 254.0f / range;
  const int zero = static_cast<int>(std::nearbyint(cuda::kGeluLowest * inverse));
  row.scale = range / 254.0f;
  row.offset = 128 - zero;
  for (const float value : x)
    row.q.push_back(static_cast<int8_t>(std::nearbyint(std::fma(value, inverse, static_cast<float>(zero - 128)))));
  return row;
}

}  // namespace whittle::test
