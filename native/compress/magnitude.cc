#include "compress/magnitude.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/error.h"

namespace whittle {

namespace {

constexpr int64_t kChunk = int64_t{1} << 18;  // 1 MB of float32
constexpr int64_t kFirstNonFiniteBin = 0x7F80;  // upper 16 bits of infinity; above it NaN

struct Chunk {
  size_t tensor;
  int64_t begin, end;
};

std::vector<Chunk> chunks_of(const std::vector<MagnitudeTensor>& tensors) {
  std::vector<Chunk> chunks;
  for (size_t t = 0; t < tensors.size(); ++t)
    for (int64_t begin = 0; begin < tensors[t].count; begin += kChunk)
      chunks.push_back({t, begin, std::min(begin + kChunk, tensors[t].count)});
  return chunks;
}

uint32_t magnitude_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits & 0x7FFFFFFFu;
}

float magnitude_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Sums of count(values, length, bins) over all chunks; each thread counts into bins of its own.
template <typename Count>
std::vector<int64_t> histogram(const std::vector<MagnitudeTensor>& tensors, int64_t bins, const Context& context,
                               Count count) {
  const std::vector<Chunk> chunks = chunks_of(tensors);
  const int64_t slots = std::clamp<int64_t>(chunks.size(), 1, std::max(context.threads, 1));
  std::vector<std::vector<int64_t>> parts(slots, std::vector<int64_t>(bins));
  context.pool.run(slots, context.threads, [&](int64_t slot) {
    for (size_t c = slot; c < chunks.size(); c += slots) {
      const Chunk& chunk = chunks[c];
      count(tensors[chunk.tensor].data + chunk.begin, chunk.end - chunk.begin, parts[slot].data());
    }
  });
  for (int64_t slot = 1; slot < slots; ++slot)
    for (int64_t bin = 0; bin < bins; ++bin) parts[0][bin] += parts[slot][bin];
  return std::move(parts[0]);
}

// The bin that holds element `rank` (from 0) of the sorted whole, and how many elements lie in lower bins.
struct Place {
  int64_t bin, below;
};
Place find_rank(const std::vector<int64_t>& counts, int64_t rank) {
  int64_t below = 0;
  for (size_t bin = 0; bin < counts.size(); ++bin) {
    if (rank < below + counts[bin]) return {static_cast<int64_t>(bin), below};
    below += counts[bin];
  }
  throw Error("INTERNAL", "A magnitude histogram counts fewer elements than there are");
}

[[noreturn]] void throw_non_finite(const std::vector<MagnitudeTensor>& tensors) {
  for (const MagnitudeTensor& tensor : tensors)
    for (int64_t i = 0; i < tensor.count; ++i)
      if (!std::isfinite(tensor.data[i]))
        throw Error("BAD_CHECKPOINT", "Expected finite weights to prune but tensor \"" + tensor.name + "\" holds " +
                                          (std::isnan(tensor.data[i]) ? "NaN" : "an infinity") + " at element " +
                                          std::to_string(i));
  throw Error("INTERNAL", "A magnitude histogram counts a NaN or infinity that is in no tensor");
}

}  // namespace

MagnitudeCut magnitude_cut(const std::vector<MagnitudeTensor>& tensors, int64_t cut_count, const Context& context) {
  return magnitude_cut(tensors, cut_count, [&](int64_t within) {
    if (within < 0) return histogram(tensors, kMagnitudeUpperBins, context, context.kernels.magnitude_histogram);
    const uint32_t wanted = static_cast<uint32_t>(within);
    return histogram(tensors, kMagnitudeLowerBins, context, [wanted](const float* x, int64_t count, int64_t* counts) {
      for (int64_t i = 0; i < count; ++i) {
        const uint32_t bits = magnitude_bits(x[i]);
        if (bits >> 16 == wanted) ++counts[bits & 0xFFFF];
      }
    });
  });
}

MagnitudeCut magnitude_cut(const std::vector<MagnitudeTensor>& tensors, int64_t cut_count,
                           const MagnitudeHistogram& histogram) {
  int64_t total = 0;
  for (const MagnitudeTensor& tensor : tensors) total += tensor.count;
  if (cut_count < 0 || cut_count > total)
    throw Error("BAD_OPTION", "Expected 0 to " + std::to_string(total) + " elements to cut but received " +
                                  std::to_string(cut_count));
  const std::vector<int64_t> upper = histogram(-1);
  if (std::any_of(upper.begin() + kFirstNonFiniteBin, upper.end(), [](int64_t n) { return n != 0; }))
    throw_non_finite(tensors);
  if (cut_count == 0) return {-1, 0, 0};

  const Place coarse = find_rank(upper, cut_count - 1);
  const std::vector<int64_t> lower = histogram(coarse.bin);
  const Place fine = find_rank(lower, cut_count - 1 - coarse.below);
  const int64_t ties = cut_count - coarse.below - fine.below;
  return {magnitude_of(static_cast<uint32_t>(coarse.bin << 16 | fine.bin)), ties, lower[fine.bin] - ties};
}

void magnitude_masks(const std::vector<MagnitudeTensor>& tensors, const MagnitudeCut& cut,
                     const std::vector<uint8_t*>& masks, const Context& context) {
  const std::vector<Chunk> chunks = chunks_of(tensors);
  const auto each_chunk = [&](const auto& task) {
    context.pool.run(chunks.size(), context.threads, [&](int64_t c) {
      const Chunk& chunk = chunks[c];
      task(c, tensors[chunk.tensor].data + chunk.begin, masks[chunk.tensor] + chunk.begin, chunk.end - chunk.begin);
    });
  };
  each_chunk([&](int64_t, const float* x, uint8_t* mask, int64_t count) {
    context.kernels.magnitude_mask(x, count, cut.threshold, mask);
  });
  if (cut.kept_ties == 0) return;

  // The kernel cut every element at the threshold: give those after the first `ties` back.
  const uint32_t threshold = magnitude_bits(cut.threshold);
  std::vector<int64_t> ties_before(chunks.size() + 1, 0);
  each_chunk([&](int64_t c, const float* x, uint8_t*, int64_t count) {
    ties_before[c + 1] = std::count_if(x, x + count, [=](float value) { return magnitude_bits(value) == threshold; });
  });
  for (size_t c = 0; c < chunks.size(); ++c) ties_before[c + 1] += ties_before[c];
  each_chunk([&](int64_t c, const float* x, uint8_t* mask, int64_t count) {
    if (ties_before[c + 1] <= cut.ties) return;
    int64_t seen = ties_before[c];
    for (int64_t i = 0; i < count; ++i)
      if (magnitude_bits(x[i]) == threshold && seen++ >= cut.ties) mask[i] = 1;
  });
}

int64_t masked_count(const uint8_t* mask, int64_t count, const Context& context) {
  const int64_t parts = (count + kChunk - 1) / kChunk;
  std::vector<int64_t> zeros(parts);
  context.pool.run(parts, context.threads, [&](int64_t part) {
    zeros[part] = std::count(mask + part * kChunk, mask + std::min((part + 1) * kChunk, count), 0);
  });
  int64_t sum = 0;
  for (int64_t zero : zeros) sum += zero;
  return sum;
}

}  // namespace whittle
