// The CUDA products: int8 bit for bit against kernels/ref, bf16 and split within their rounding, epilogues.
#include <algorithm>
#include <cmath>

#include "formats/half.h"
#include "kernels/gelu_polynomial.h"
#include "kernels/kernel_table.h"
#include "kernels/ref/activation.h"
#include "test/cuda_products.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// Around the tiles of 64, 128 and 256, and the blocks of 128 bytes; n a multiple of 32, for which epilogues are
// compiled, with k that fits into panels (1,024 bytes) and that does not.
const std::vector<ProductShape> kShapes = {{1, 1, 1},       {1, 8, 16},       {15, 7, 33},    {17, 64, 127},
                                           {63, 65, 128},   {128, 128, 64},   {129, 31, 129}, {65, 257, 385},
                                           {200, 384, 384}, {130, 520, 513},  {70, 96, 1024}, {193, 288, 520},
                                           {130, 96, 1025}, {300, 512, 1100}, {33, 1088, 96},
                                           {140, 512, 300}, {70, 256, 200}};

std::vector<uint16_t> to_bf16(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float value : values) bits.push_back(bf16_bits(value));
  return bits;
}
std::vector<float> low_part(const std::vector<float>& values) {
  std::vector<float> low;
  for (const float value : values) low.push_back(value - rounded_to_bf16(value));
  return low;
}
// High and low parts side by side, each padded to whole blocks.
std::vector<uint16_t> both_parts(const std::vector<float>& values, int64_t rows, int64_t k) {
  const int64_t padded = cuda::part_blocks(cuda::Form::split, k) * 64;
  std::vector<uint16_t> both(static_cast<size_t>(rows * 2 * padded));
  const auto high = to_bf16(values), low = to_bf16(low_part(values));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < k; ++c) {
      both[static_cast<size_t>(r * 2 * padded + c)] = high[static_cast<size_t>(r * k + c)];
      both[static_cast<size_t>(r * 2 * padded + padded + c)] = low[static_cast<size_t>(r * k + c)];
    }
  return both;
}

float activate(float x, cuda::Activation activation) {
  switch (activation) {
    case cuda::Activation::gelu:
      return ref::activate(x, Activation::gelu);
    case cuda::Activation::tanh:
      return std::tanh(x);
    case cuda::Activation::relu:
      return std::max(x, 0.0f);
    case cuda::Activation::none:
      break;
  }
  return x;
}

}  // namespace

TEST(cuda_gemm, int8_sums_are_exact) {
  std::mt19937_64 random = generator(1);
  for (GpuDevice* device : cuda_devices())
    for (const ProductShape& shape : kShapes) {
      CudaBench bench(*device);
      Int8Product product(bench, random, shape);
      bench.kernels().gemm_s8(product.call, bench.stream());
      const auto y = bench.get(static_cast<const float*>(product.call.y), shape.m * shape.n);
      for (size_t i = 0; i < y.size(); ++i)
        if (y[i] != static_cast<float>(product.sums[i]))
          WHITTLE_FAIL(name_of(shape, bench) << ": element " << i << " is " << y[i] << ", not " << product.sums[i]);
    }
}

// Compiled epilogues over shapes by chance. Each launch of the shim has another order of threads and time of copies.
TEST(cuda_gemm, int8_sums_of_any_shape) {
  std::mt19937_64 random = generator(4);
  const auto up_to = [&](int64_t most) { return static_cast<int64_t>(random() % static_cast<uint64_t>(most + 1)); };
  for (int i = 0; i < 16; ++i) {
    const int64_t k = i % 4 < 3 ? 1 + up_to(1023) : 1025 + up_to(200);  // panels, and tiles that have no room for them
    const ProductShape shape{up_to(i % 6 == 5 ? 64 : 400), 32 * (1 + up_to(i % 4 < 2 ? 33 : 11)), k};
    for (GpuDevice* device : cuda_devices()) {
      CudaBench bench(*device);
      Int8Product product(bench, random, shape);
      const int64_t count = shape.m * shape.n;
      cuda::Gemm& call = product.call;
      call.bias = bench.put(std::vector<float>(static_cast<size_t>(shape.n), 3.0f));
      if (i % 2 == 1) {
        const auto wanted = product.add_residual(bench, random, shape.m, 3.0f, i % 4 == 1);
        bench.kernels().gemm_s8(call, bench.stream());
        const auto y = bench.get(static_cast<const uint16_t*>(call.y), count);
        for (size_t at = 0; at < y.size(); ++at)
          if (y[at] != wanted[at])
            WHITTLE_FAIL(name_of(shape, bench) << ": element " << at << " is " << half_to_float(y[at]) << ", not "
                                               << half_to_float(wanted[at]));
        continue;
      }
      bench.kernels().gemm_s8(call, bench.stream());
      const auto y = bench.get(static_cast<const float*>(call.y), count);
      for (int64_t at = 0; at < count; ++at) {
        const float sum = static_cast<float>(product.sums[static_cast<size_t>(at)]) + 3.0f;
        if (y[static_cast<size_t>(at)] != sum)
          WHITTLE_FAIL(name_of(shape, bench) << ": element " << at << ", whose sum is " << sum);
      }
    }
  }
}

// Products by panels with as many tiles a block as it takes to go round the stages several times, for each number of
// blocks of k, in all the shim's orders of threads and times of copies; blocks alone, and in clusters of two,
// which are for products with a residual among others.
TEST(cuda_gemm, panels_go_round_the_stages) {
  std::mt19937_64 random = generator(5);
  struct Case {
    int64_t blocks, panels;  // panels 0: less than one
  };
  for (GpuDevice* device : cuda_devices()) {
    if (device->info().capability != 90) continue;
    for (const auto& [blocks, panels] : {Case{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}, {8, 0},
                                         {1, 4}, {2, 2}, {3, 4}, {8, 2}}) {
      CudaBench bench(*device);
      // Rows repeat after a number of tiles that none of 3 warpgroups, 12 stages or 8 blocks has.
      const ProductShape shape{5 * 64, panels > 0 ? panels * 128 : 64,
                               128 * blocks - static_cast<int64_t>(random() % 100)};
      Int8Product product(bench, random, shape);
      const int64_t m = int64_t{device->info().multiprocessors} * 64 * 7 - 30;
      std::vector<int8_t> rows;
      while (static_cast<int64_t>(rows.size()) < m * shape.k)
        rows.insert(rows.end(), product.a.begin(), product.a.end());
      cuda::Gemm& call = product.call;
      call.rows = bench.put_one(static_cast<int32_t>(m));
      call.most_rows = m;
      call.a.data = put_rows(bench, rows, m, shape.k);
      call.a.scales = bench.put(std::vector<float>(static_cast<size_t>(m), 1.0f));
      call.bias = bench.put(std::vector<float>(static_cast<size_t>(shape.n), 0.0f));
      std::vector<uint16_t> sums_and_residual;
      if (panels > 0) sums_and_residual = product.add_residual(bench, random, m, 0.0f, false);
      for (int turn = 0; turn < 6; ++turn) {
        const auto check = [&](const auto& y, const auto& wanted) {
          for (size_t at = 0; at < y.size(); ++at)
            if (y[at] != static_cast<decltype(y[at])>(wanted[at % wanted.size()]))
              WHITTLE_FAIL(blocks << " blocks of k, " << panels << " panels, turn " << turn << ": element " << at
                                  << " is " << y[at] << ", not " << wanted[at % wanted.size()]);
        };
        if (panels > 0) {
          uint16_t* y = bench.take<uint16_t>(m * shape.n);
          call.y = y;
          bench.kernels().gemm_s8(call, bench.stream());
          check(bench.get(y, m * shape.n), sums_and_residual);
        } else {
          float* y = bench.take<float>(m * shape.n);
          call.y = y;
          bench.kernels().gemm_s8(call, bench.stream());
          check(bench.get(y, m * shape.n), product.sums);
        }
      }
    }
  }
}

TEST(cuda_gemm, int8_with_everything_around_it) {
  std::mt19937_64 random = generator(2);
  for (GpuDevice* device : cuda_devices())
    for (const ProductShape& shape : kShapes)
      for (const auto activation :
           {cuda::Activation::none, cuda::Activation::gelu, cuda::Activation::tanh, cuda::Activation::relu}) {
        if (shape.m > 150 && activation > cuda::Activation::gelu) continue;  // Those follow the pooler only.
        CudaBench bench(*device);
        Int8Product product(bench, random, shape);
        auto [m, n, k] = shape;
        const auto row_scales = random_floats(random, m, 0.01f), scales = random_floats(random, n, 0.02f);
        const auto bias = random_floats(random, n), residual = random_floats(random, m * n);
        const bool with_outliers = activation == cuda::Activation::none || activation == cuda::Activation::tanh;
        const int most = with_outliers ? static_cast<int>(std::min<int64_t>(k, 4)) : 0;
        product.add_outliers(bench, random, most);
        // Some cases have outliers, some offsets, one both, one neither.
        const bool with_offsets = activation == cuda::Activation::gelu || activation == cuda::Activation::tanh;
        std::vector<int32_t> offsets, w_sums(static_cast<size_t>(n));
        for (int64_t r = 0; r < m; ++r) offsets.push_back(static_cast<int32_t>(random() % 256) - 127);
        for (int64_t j = 0; j < n; ++j)
          for (int64_t l = 0; l < k; ++l) w_sums[static_cast<size_t>(j)] += product.w[static_cast<size_t>(j * k + l)];
        cuda::Gemm& call = product.call;
        if (with_offsets) {
          call.a.offsets = bench.put(offsets);
          call.w_sums = bench.put(w_sums);
          for (int64_t r = 0; r < m; ++r)
            for (int64_t j = 0; j < n; ++j)
              product.sums[static_cast<size_t>(r * n + j)] +=
                  offsets[static_cast<size_t>(r)] * w_sums[static_cast<size_t>(j)];
        }
        call.a.scales = bench.put(row_scales);
        call.w_scales = bench.put(scales);
        call.bias = bench.put(bias);
        call.activation = activation;
        std::vector<float> expected;
        for (int64_t r = 0; r < m; ++r)
          for (int64_t j = 0; j < n; ++j)
            expected.push_back(activate(static_cast<float>(product.sums[static_cast<size_t>(r * n + j)]) *
                                                row_scales[static_cast<size_t>(r)] * scales[static_cast<size_t>(j)] +
                                            bias[static_cast<size_t>(j)],
                                        activation));
        const double of_gelu = activation == cuda::Activation::gelu ? kGeluError : 0;
        // float16, with what it leaves.
        product.gives(bench, cuda::Format::f16);
        uint16_t* high = bench.take<uint16_t>(m * n);
        call.y = high;
        call.y_low = bench.take<uint16_t>(m * n);
        bench.kernels().gemm_s8(call, bench.stream());
        const auto halves = bench.get(high, m * n), rest = bench.get(call.y_low, m * n);
        for (size_t i = 0; i < halves.size(); ++i) {
          CHECK_NEAR(half_to_float(halves[i]), expected[i], 1e-3 + of_gelu);
          CHECK_NEAR(half_to_float(halves[i]) + half_to_float(rest[i]), expected[i], 2e-6 + of_gelu);
        }
        // float32, with a residual.
        product.gives(bench, cuda::Format::f32);
        call.y_low = nullptr;  // else no epilogue that is compiled for itself would run
        call.y = bench.take<float>(m * n);
        call.residual = bench.put(residual);
        bench.kernels().gemm_s8(call, bench.stream());
        const auto y = bench.get(static_cast<const float*>(call.y), m * n);
        for (size_t i = 0; i < y.size(); ++i) CHECK_NEAR(y[i], expected[i] + residual[i], 2e-6 + of_gelu);
        if (activation > cuda::Activation::gelu) continue;
        // Bit for bit what the CPU makes of the same sums.
        std::vector<float> of_cpu(y.size());
        const SumsS8 sums{product.sums.data(), n, row_scales.data(), scales.data(), nullptr, nullptr, nullptr,
                          nullptr,             0};
        kernels_for(Isa::ref)->epilogue_s8(
            sums, m, n, bias.data(), activation == cuda::Activation::gelu ? Activation::gelu : Activation::none,
            residual.data(), n, of_cpu.data(), n);
        for (size_t i = 0; i < y.size(); ++i) CHECK_EQUAL(y[i], of_cpu[i]);
        // As float16, with a residual of the same.
        const auto half_residual = halves_of(residual);
        const auto widened_residual = floats_of(half_residual);
        const auto of_cpu_with = [&](const std::vector<float>& added) {
          std::vector<float> result(y.size());
          kernels_for(Isa::ref)->epilogue_s8(
              sums, m, n, bias.data(), activation == cuda::Activation::gelu ? Activation::gelu : Activation::none,
              added.data(), n, result.data(), n);
          return result;
        };
        cuda::Gemm in_halves = call;
        in_halves.format = cuda::Format::f16;
        in_halves.w = put_weights(bench, product.w, n, k, cuda::Format::f16);
        in_halves.residual = bench.put(half_residual);
        uint16_t* half_sums = bench.take<uint16_t>(m * n);
        in_halves.y = half_sums;
        bench.kernels().gemm_s8(in_halves, bench.stream());
        CHECK(bench.get(half_sums, m * n) == halves_of(of_cpu_with(widened_residual)));
        // The residual normalized on its way, into the place where it lies.
        const auto gamma = random_floats(random, n), beta = random_floats(random, n);
        std::vector<cuda::RowStats> stats;
        for (int64_t r = 0; r < m; ++r) stats.push_back({random_floats(random, 1)[0], random_floats(random, 1)[0]});
        const auto normalized = [&](const std::vector<float>& rows) {
          std::vector<float> result;
          for (int64_t i = 0; i < m * n; ++i) {
            const auto [mean, scale] = stats[static_cast<size_t>(i / n)];
            result.push_back(std::fma((rows[static_cast<size_t>(i)] - mean) * scale, gamma[static_cast<size_t>(i % n)],
                                      beta[static_cast<size_t>(i % n)]));
          }
          return result;
        };
        for (cuda::Gemm* with : {&call, &in_halves}) {
          with->residual_stats = bench.put(stats);
          with->residual_gamma = bench.put(gamma);
          with->residual_beta = bench.put(beta);
        }
        float* place = bench.put(residual);
        call.residual = call.y = place;
        bench.kernels().gemm_s8(call, bench.stream());
        CHECK(bench.get(place, m * n) == of_cpu_with(normalized(residual)));
        uint16_t* half_place = bench.put(half_residual);
        in_halves.residual = in_halves.y = half_place;
        bench.kernels().gemm_s8(in_halves, bench.stream());
        CHECK(bench.get(half_place, m * n) == halves_of(of_cpu_with(normalized(widened_residual))));
      }
}

TEST(cuda_gemm, bf16_and_split) {
  std::mt19937_64 random = generator(3);
  for (GpuDevice* device : cuda_devices())
    for (const ProductShape& shape : kShapes)
      for (const cuda::Form form : {cuda::Form::bf16, cuda::Form::split}) {
        CudaBench bench(*device);
        auto [m, n, k] = shape;
        const auto a = random_floats(random, m * k), w = random_floats(random, n * k);
        const auto bias = random_floats(random, n);
        cuda::Gemm call{};
        call.rows = bench.put_one(static_cast<int32_t>(m));
        call.most_rows = m;
        call.n = n;
        call.a.form = form;
        call.a.k = k;
        const int64_t stored_k = 2 * cuda::part_blocks(form, k) * 64;
        const auto gives = [&](cuda::Format format) {
          call.format = format;
          call.w = form == cuda::Form::split ? put_weights(bench, both_parts(w, n, k), n, stored_k, format)
                                             : put_weights(bench, to_bf16(w), n, k, format);
        };
        call.a.data = form == cuda::Form::split ? put_rows(bench, both_parts(a, m, k), m, stored_k)
                                                : put_rows(bench, to_bf16(a), m, k);
        call.bias = bench.put(bias);
        gives(cuda::Format::f32);
        call.y = bench.take<float>(m * n);
        bench.kernels().gemm_bf16(call, bench.stream());
        const auto y = bench.get(static_cast<const float*>(call.y), m * n);
        std::vector<float> exact;
        const bool rounds = form == cuda::Form::bf16;
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t l = 0; l < k; ++l) {
              const float left = a[static_cast<size_t>(i * k + l)], right = w[static_cast<size_t>(j * k + l)];
              sum += rounds ? double{rounded_to_bf16(left)} * rounded_to_bf16(right) : double{left} * right;
            }
            exact.push_back(static_cast<float>(sum + bias[static_cast<size_t>(j)]));
          }
        // float32 sums of k products of about 1, and for split 2^-16 of each product. Matrix units cut sums toward zero
        // every 8 or 16 products, by up to 2^-23 of what is sqrt(k) in the end, at a few standard deviations.
        const double root = std::sqrt(static_cast<double>(k)), cuts = static_cast<double>(k) / 8;
        const double tolerance = (rounds ? 2e-6 : 2e-5) * root + 0.5 * std::exp2(-24) * cuts * root + 1e-6;
        for (size_t i = 0; i < y.size(); ++i) CHECK_NEAR(y[i], exact[i], tolerance);

        // GELU, as operand of the next product.
        call.activation = cuda::Activation::gelu;
        gives(cuda::Format::operand);
        call.y_form = form;
        const int64_t bytes = cuda::operand_bytes(form, m, n), part = cuda::part_blocks(form, n);
        call.y = bench.take<uint8_t>(bytes);
        bench.kernels().gemm_bf16(call, bench.stream());
        const auto stored = bench.get(static_cast<const uint8_t*>(call.y), bytes);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < part * 64; ++j) {
            const int64_t blocks = part * cuda::form_parts(form);
            const auto element = [&](int64_t column) {
              uint16_t bits;
              std::memcpy(&bits, &stored[static_cast<size_t>(cuda::operand_offset(i, 2 * column, blocks))], 2);
              return bf16_to_float(bits);
            };
            const float value = element(j) + (form == cuda::Form::split ? element(j + part * 64) : 0);
            if (j >= n)
              CHECK_EQUAL(value, 0.0f);
            else
              CHECK_NEAR(value, ref::activate(exact[static_cast<size_t>(i * n + j)], Activation::gelu),
                         tolerance + (rounds ? 4e-3 : 2e-5));
          }
      }
}
