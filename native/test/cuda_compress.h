// What tests of compression on GPUs share: inputs, and comparisons with the CPU.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "compress/cuda_compress.h"
#include "test/buffers.h"

namespace whittle::test {

// kind 0: normal; 1: few different magnitudes, of both signs; 2: all equal; 3: half zeros of both signs, denormals.
inline std::vector<float> random_weights(std::mt19937_64& random, int64_t count, int kind) {
  std::vector<float> values = random_floats(random, count);
  for (float& value : values) {
    if (kind == 1) value = std::round(value * 2) / 2;
    if (kind == 2) value = random() % 2 ? 0.75f : -0.75f;
    if (kind == 3) value = random() % 2 ? (random() % 2 ? 0.0f : -0.0f) : value * 1e-39f;
  }
  return values;
}

inline void check_masks(GpuDevice& device, const std::vector<std::vector<float>>& values, int64_t count) {
  Arena arena;
  const Context context{*kernels_for(Isa::ref), ThreadPool::instance(), 1, arena};
  std::vector<MagnitudeTensor> tensors;
  std::vector<std::vector<uint8_t>> expected, found;
  std::vector<uint8_t*> expected_masks, found_masks;
  for (size_t t = 0; t < values.size(); ++t) {
    tensors.push_back({"tensor" + std::to_string(t), values[t].data(), static_cast<int64_t>(values[t].size())});
    expected.emplace_back(values[t].size(), 0xaa);
    found.emplace_back(values[t].size() + 1, 0xaa);
  }
  for (auto& mask : expected) expected_masks.push_back(mask.data());
  for (auto& mask : found) found_masks.push_back(mask.data());
  const MagnitudeCut cut = magnitude_cut(tensors, count, context);
  magnitude_masks(tensors, cut, expected_masks, context);
  CudaMagnitudes on_gpu(device, tensors, [] {});
  const MagnitudeCut cut_of_gpu = on_gpu.cut(count);
  CHECK_EQUAL(cut_of_gpu.threshold, cut.threshold);
  CHECK_EQUAL(cut_of_gpu.ties, cut.ties);
  CHECK_EQUAL(cut_of_gpu.kept_ties, cut.kept_ties);
  on_gpu.masks(cut_of_gpu, found_masks);
  for (size_t t = 0; t < values.size(); ++t) {
    CHECK_EQUAL(static_cast<int>(found[t].back()), 0xaa);
    found[t].pop_back();
    if (found[t] != expected[t]) WHITTLE_FAIL("tensor " << t << ", cut " << count << ": another mask");
  }
}

// Rows of every kind that quantize_weight tells apart.
inline std::vector<float> random_rows(std::mt19937_64& random, int64_t rows, int64_t cols) {
  std::vector<float> w = random_floats(random, rows * cols, 0.05f);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = &w[static_cast<size_t>(r * cols)];
    for (int64_t c = 0; c < cols; ++c) {
      if (r % 7 == 1) row[c] = 0;                                                     // zeros
      if (r % 7 == 2) row[c] *= 1e-36f;                                               // a denormal scale
      if (r % 7 == 3) row[c] = std::nearbyint(row[c] * 1000) / 1000;                  // on a grid
      if (r % 7 == 4 || r % 7 == 5) {                                                 // near one
        row[c] = static_cast<float>(c == 0 ? 127 : static_cast<int>(random() % 251) - 125) * 0.01f +
                 row[c] * (r % 7 == 4 ? 0.01f : 0.03f);
      }
    }
  }
  return w;
}

inline void check_quantized_weight(GpuDevice& device, const std::vector<float>& w, int64_t rows, int64_t cols) {
  Arena arena;
  const Context context{*kernels_for(Isa::ref), ThreadPool::instance(), 1, arena};
  std::vector<int8_t> expected(w.size()), found(w.size() + 1, 77);
  std::vector<float> expected_scales(static_cast<size_t>(rows)), scales(static_cast<size_t>(rows + 1), -7);
  const double expected_error =
      quantize_weight("w", w.data(), rows, cols, expected.data(), expected_scales.data(), context).relative_error;
  const double error =
      quantize_weight_on_gpu(device, "w", w.data(), rows, cols, found.data(), scales.data(), [] {}).relative_error;
  CHECK_EQUAL(found.back(), int8_t{77});
  CHECK_EQUAL(scales.back(), -7.0f);
  for (size_t r = 0; r < expected_scales.size(); ++r) CHECK_EQUAL(scales[r], expected_scales[r]);
  for (size_t i = 0; i < expected.size(); ++i)
    CHECK_EQUAL(static_cast<int>(found[i]), static_cast<int>(expected[i]));
  CHECK_EQUAL(error, expected_error);
}

}  // namespace whittle::test
