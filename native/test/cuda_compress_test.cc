// Magnitude pruning and int8 rounding of weights by the CUDA kernels: bit for bit what the CPU makes.
#include <cmath>
#include <limits>

#include "compress/cuda_compress.h"
#include "cpu/error.h"
#include "kernels/kernel_table.h"
#include "test/cuda_compress.h"
#include "test/cuda_devices.h"

using namespace whittle;
using namespace whittle::test;

TEST(cuda_compress, magnitude_masks_are_the_cpus) {
  std::mt19937_64 random = generator(1);
  // Sizes around blocks of 8192, an empty tensor, and tensors whose values are few, so that many are at the threshold.
  const std::vector<std::vector<int64_t>> groups = {{1}, {3, 0, 5}, {8191, 8192}, {8193, 17, 40000}};
  for (GpuDevice* device : cuda_devices())
    for (const auto& sizes : groups)
      for (const int kind : {0, 1, 2, 3}) {
        std::vector<std::vector<float>> values;
        int64_t total = 0;
        for (const int64_t size : sizes) {
          values.push_back(random_weights(random, size, kind));
          total += size;
        }
        for (const int64_t count : {int64_t{0}, int64_t{1}, total / 3, total / 2, total - 1, total})
          check_masks(*device, values, count);
      }
}

TEST(cuda_compress, histograms_are_the_cpus) {
  std::mt19937_64 random = generator(2);
  for (GpuDevice* device : cuda_devices())
    for (const int64_t count : {1, 3, 4, 5, 4095, 4096, 20000, 70001}) {
      CudaBench bench(*device);
      std::vector<float> x = random_floats(random, count);
      // Of every size there is, those that are not finite too.
      for (size_t i = 0; i < x.size(); i += 3) {
        const uint32_t bits = static_cast<uint32_t>(random());
        std::memcpy(&x[i], &bits, sizeof bits);
      }
      std::vector<int64_t> expected(cuda::kUpperBins);
      kernels_for(Isa::ref)->magnitude_histogram(x.data(), count, expected.data());
      uint64_t* counts = bench.put(std::vector<uint64_t>(cuda::kUpperBins, 7));
      bench.kernels().magnitude_histogram({bench.put(x), count, -1, counts}, bench.stream());
      const auto found = bench.get(counts, cuda::kUpperBins);
      for (size_t bin = 0; bin < found.size(); ++bin)
        CHECK_EQUAL(found[bin], static_cast<uint64_t>(expected[bin]) + 7);
    }
}

TEST(cuda_compress, weights_that_are_not_finite_are_named) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<std::vector<float>> values = {std::vector<float>(100, 1.0f), std::vector<float>(9000, 2.0f)};
    values[1][8500] = bad;
    const std::vector<MagnitudeTensor> tensors = {{"good", values[0].data(), 100}, {"bad", values[1].data(), 9000}};
    std::string message;
    try {
      CudaMagnitudes(*cuda_devices().front(), tensors, [] {}).cut(50);
    } catch (const Error& error) {
      CHECK_EQUAL(std::string(error.code()), "BAD_CHECKPOINT");
      message = error.what();
    }
    CHECK(message.find("\"bad\" holds") != std::string::npos && message.find("element 8500") != std::string::npos);
    std::vector<int8_t> q(9000);
    std::vector<float> scales(90);
    message.clear();
    try {
      quantize_weight_on_gpu(*cuda_devices().front(), "bad", values[1].data(), 90, 100, q.data(), scales.data(), [] {});
    } catch (const Error& error) {
      CHECK_EQUAL(std::string(error.code()), "BAD_CHECKPOINT");
      message = error.what();
    }
    CHECK(message.find("in row 85") != std::string::npos);
  }
}

TEST(cuda_compress, int8_weights_are_the_cpus) {
  std::mt19937_64 random = generator(3);
  for (GpuDevice* device : cuda_devices())
    for (const int64_t cols : {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 384, 401})
      for (const int64_t rows : {1, 7, 8, 9, 29})
        check_quantized_weight(*device, random_rows(random, rows, cols), rows, cols);
}

TEST(cuda_compress, nothing_and_aborts) {
  GpuDevice& device = *cuda_devices().front();
  std::vector<float> scales(3);
  CHECK_EQUAL(quantize_weight_on_gpu(device, "w", nullptr, 0, 5, nullptr, nullptr, [] {}).relative_error, 0.0);
  CHECK_EQUAL(quantize_weight_on_gpu(device, "w", nullptr, 3, 0, nullptr, scales.data(), [] {}).relative_error, 0.0);
  CHECK_EQUAL(scales[2], 1.0f);
  const std::vector<float> w(100, 1.0f);
  const std::vector<MagnitudeTensor> tensors = {{"w", w.data(), 100}};
  const std::function<void()> stop = [] { throw Error("ABORTED", "stop"); };
  std::string code;
  try {
    CudaMagnitudes(device, tensors, stop);
  } catch (const Error& error) {
    code = error.code();
  }
  CHECK_EQUAL(code, "ABORTED");
}
