// Unstructured magnitude pruning: which elements of a set of tensors are the smallest, exactly.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ops/context.h"

namespace whittle {

struct MagnitudeTensor {
  std::string name;  // for messages
  const float* data;
  int64_t count;
};

// Which elements of all tensors together are cut: every |x| < threshold and, of those with |x| == threshold, the first
// `ties` in order of tensor and index. So the number of elements cut is exact whatever the values are.
struct MagnitudeCut {
  float threshold;    // -1 if nothing is cut
  int64_t ties;       // elements at the threshold that are cut
  int64_t kept_ties;  // elements at the threshold that stay
};

// The cut that takes the `cut_count` smallest magnitudes of all tensors, by radix selection over the bits of |x|: one
// histogram of the upper 16 bits, then one of the lower 16 within the bin that holds the rank. Two passes, no copy.
// Throws BAD_CHECKPOINT naming the tensor and index of a NaN or infinity.
MagnitudeCut magnitude_cut(const std::vector<MagnitudeTensor>& tensors, int64_t cut_count, const Context& context);

// The same from histograms that somebody else makes: histogram(-1) is how often each value of the upper 16 bits of
// |x| occurs in all tensors, [kMagnitudeUpperBins]; histogram(bin) how often each of the lower 16 where the upper are
// `bin`, [kMagnitudeLowerBins].
inline constexpr int64_t kMagnitudeUpperBins = 32768, kMagnitudeLowerBins = 65536;
using MagnitudeHistogram = std::function<std::vector<int64_t>(int64_t within)>;
MagnitudeCut magnitude_cut(const std::vector<MagnitudeTensor>& tensors, int64_t cut_count,
                           const MagnitudeHistogram& histogram);

// masks[t][i] = 0 where element i of tensor t is cut, else 1.
void magnitude_masks(const std::vector<MagnitudeTensor>& tensors, const MagnitudeCut& cut,
                     const std::vector<uint8_t*>& masks, const Context& context);

// How many elements of a mask are 0.
int64_t masked_count(const uint8_t* mask, int64_t count, const Context& context);

}  // namespace whittle
