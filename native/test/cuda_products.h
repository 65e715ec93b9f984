// Products of random int8 on the GPUs of the tests.
#pragma once

#include <cmath>
#include <string>

#include "formats/half.h"
#include "kernels/ref/float16.h"
#include "test/cuda_devices.h"

namespace whittle::test {

struct ProductShape {
  int64_t m, n, k;
};

inline std::string name_of(const ProductShape& shape, const CudaBench& bench) {
  return std::to_string(shape.m) + " x " + std::to_string(shape.n) + " x " + std::to_string(shape.k) + " on kernels " +
         std::to_string(bench.kernels().capability);
}

// As products store them where their result is float16.
inline uint16_t half_of(float x) {
  return float_to_half(ref::round_to_f16(x));
}
inline std::vector<uint16_t> halves_of(const std::vector<float>& values) {
  std::vector<uint16_t> halves;
  for (const float value : values) halves.push_back(half_of(value));
  return halves;
}
inline std::vector<float> floats_of(const std::vector<uint16_t>& halves) {
  std::vector<float> values;
  for (const uint16_t half : halves) values.push_back(half_to_float(half));
  return values;
}

template <typename T>
const uint8_t* put_weights(CudaBench& bench, const std::vector<T>& w, int64_t n, int64_t k, cuda::Format format) {
  const int64_t stored = (n + cuda::kWeightRows - 1) / cuda::kWeightRows * cuda::kWeightRows;
  return bench.put(to_blocks(w, n, k, stored, [&](int64_t r) { return cuda::stored_weight_row(r, format); }));
}
template <typename T>
uint8_t* put_rows(CudaBench& bench, const std::vector<T>& a, int64_t m, int64_t k) {
  return bench.put(to_blocks(a, m, k, m, [](int64_t r) { return r; }));
}

// Scales of 1, and what every call needs.
struct Int8Product {
  ProductShape shape;
  std::vector<int8_t> a, w;
  std::vector<int32_t> sums;  // [m, n]
  cuda::Gemm call{};

  Int8Product(CudaBench& bench, std::mt19937_64& random, const ProductShape& s)
      : shape(s), a(random_int8(random, s.m * s.k)), w(random_int8(random, s.n * s.k)) {
    sums.resize(static_cast<size_t>(s.m * s.n));
    for (int64_t i = 0; i < s.m; ++i)
      for (int64_t j = 0; j < s.n; ++j) {
        int32_t sum = 0;
        for (int64_t l = 0; l < s.k; ++l)
          sum += a[static_cast<size_t>(i * s.k + l)] * w[static_cast<size_t>(j * s.k + l)];
        sums[static_cast<size_t>(i * s.n + j)] = sum;
      }
    call.rows = bench.put_one(static_cast<int32_t>(s.m));
    call.most_rows = s.m + 150;
    call.n = s.n;
    call.a.form = cuda::Form::int8;
    call.a.k = s.k;
    call.a.data = put_rows(bench, a, s.m, s.k);
    call.a.scales = bench.put(std::vector<float>(static_cast<size_t>(s.m), 1.0f));
    call.w_scales = bench.put(std::vector<float>(static_cast<size_t>(s.n), 1.0f));
    gives(bench, cuda::Format::f32);
    call.y = bench.take<float>(s.m * s.n);
  }
  // Adds a residual [rows, n] on its way through LayerNorm, each of whose rows, columns and elements differs from the
  // others by more than float16 rounds away, and scales sums so that it holds most of them. Into the place of the
  // residual, or not. Gives what comes of the sums, `bias` in each column and the residual; of rows behind the shape's,
  // sums begin again with its first.
  static constexpr float kHalfScale = 1.0f / 256;
  std::vector<uint16_t> add_residual(CudaBench& bench, std::mt19937_64& random, int64_t rows, float bias,
                                     bool in_place) {
    gives(bench, cuda::Format::f16);
    const size_t n = static_cast<size_t>(shape.n), count = static_cast<size_t>(rows) * n;
    const auto within = [&](float least, float most) {
      return least + (most - least) * static_cast<float>(random() % 1024) / 1023;
    };
    std::vector<cuda::RowStats> stats;
    for (int64_t r = 0; r < rows; ++r) stats.push_back({within(-100, 100), within(0.5f, 2)});
    std::vector<float> gamma, beta;
    for (size_t c = 0; c < n; ++c) {
      gamma.push_back((random() % 2 ? 1.0f : -1.0f) * within(0.5f, 2));
      beta.push_back(within(-50, 50));
    }
    std::vector<uint16_t> halves, results;
    for (size_t at = 0; at < count; ++at) {
      halves.push_back(half_of(within(-400, 400)));
      const auto [mean, scale] = stats[at / n];
      const float added = std::fma((half_to_float(halves[at]) - mean) * scale, gamma[at % n], beta[at % n]);
      results.push_back(half_of(static_cast<float>(sums[at % sums.size()]) * kHalfScale + bias + added));
    }
    uint16_t* residual = bench.put(halves);
    call.residual = residual;
    call.residual_stats = bench.put(stats);
    call.residual_gamma = bench.put(gamma);
    call.residual_beta = bench.put(beta);
    call.a.scales = bench.put(std::vector<float>(static_cast<size_t>(rows), kHalfScale));
    call.y = in_place ? residual : bench.take<uint16_t>(rows * shape.n);
    return results;
  }
  // Weights are stored for the format of the result.
  void gives(CudaBench& bench, cuda::Format format) {
    call.format = format;
    call.w = put_weights(bench, w, shape.n, shape.k, format);
  }
  // Up to `most` for each row of A, and with them the columns of W.
  void add_outliers(CudaBench& bench, std::mt19937_64& random, int most) {
    auto [m, n, k] = shape;
    std::vector<int32_t> counts;
    std::vector<cuda::Outlier> outliers;
    for (int64_t r = 0; r < m; ++r) {
      counts.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(most + 1)));
      for (int i = 0; i < most; ++i) {
        const cuda::Outlier outlier{static_cast<int32_t>(random() % static_cast<uint64_t>(k)),
                                    static_cast<int32_t>(random() % 4001) - 2000};
        outliers.push_back(outlier);
        if (i >= counts.back()) continue;
        for (int64_t j = 0; j < n; ++j)
          sums[static_cast<size_t>(r * n + j)] += outlier.value * w[static_cast<size_t>(j * k + outlier.column)];
      }
    }
    std::vector<int8_t> columns(static_cast<size_t>(n * k));
    for (int64_t j = 0; j < n; ++j)
      for (int64_t l = 0; l < k; ++l) columns[static_cast<size_t>(l * n + j)] = w[static_cast<size_t>(j * k + l)];
    call.a.most_outliers = most;
    call.a.outlier_counts = bench.put(counts);
    call.a.outliers = bench.put(outliers);
    call.columns = bench.put(columns);
  }
};

}  // namespace whittle::test
