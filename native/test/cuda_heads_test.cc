// Query, key and value as bytes with a scale a head (Format::heads), bit for bit against kernels/ref: out of the
// product, and by the kernel for heads of other sizes.
#include <cmath>

#include "kernels/kernel_table.h"
#include "test/cuda_products.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Case {
  int64_t m, heads, head_size, k;
};
// Panels (k up to 1,024), tiles of 128 and of 256 columns; the last tile full and not.
const std::vector<Case> kCases = {{1, 1, 32, 32},      {15, 3, 32, 33},     {65, 12, 32, 384},  {193, 9, 32, 520},
                                  {17, 1, 64, 127},    {129, 5, 64, 200},   {200, 12, 64, 256}, {63, 1, 128, 128},
                                  {130, 3, 128, 1024}, {140, 15, 32, 1100}, {70, 3, 32, 1030},  {300, 8, 64, 1056},
                                  {131, 3, 64, 1100},  {257, 6, 128, 1025}, {31, 1, 128, 1200}, {64, 33, 32, 1100},
                                  {128, 2, 64, 1025},  {385, 4, 128, 1100}, {0, 4, 64, 96}};

std::string name_of(const Case& one, const CudaBench& bench) {
  return std::to_string(one.m) + " rows of " + std::to_string(one.heads) + " heads of " +
         std::to_string(one.head_size) + ", k " + std::to_string(one.k) + ", on kernels " +
         std::to_string(bench.kernels().capability);
}

constexpr int64_t kMore = 3;  // rows behind the last, which stay as they are

// y [rows, y_stride] and scales [heads, rows + kMore] against those of x [rows, heads * head_size].
void check_heads(CudaBench& bench, const Case& one, const std::vector<float>& x, const int8_t* y, int64_t y_stride,
                 const float* scales) {
  const int64_t n = one.heads * one.head_size, scale_stride = one.m + kMore;
  std::vector<int8_t> bytes(static_cast<size_t>(one.m * n));
  std::vector<float> of_heads(static_cast<size_t>(one.heads * scale_stride));
  kernels_for(Isa::ref)->quantize_heads_s8(x.data(), n, one.m, one.heads, one.head_size, 0, bytes.data(), n,
                                           of_heads.data(), scale_stride);
  const auto found = bench.get(y, (one.m + kMore) * y_stride);
  const auto found_scales = bench.get(scales, one.heads * scale_stride);
  for (int64_t r = 0; r < one.m + kMore; ++r)
    for (int64_t c = 0; c < y_stride; ++c) {
      const int is = found[static_cast<size_t>(r * y_stride + c)];
      const int wanted = r >= one.m ? 0x7f : c < n ? bytes[static_cast<size_t>(r * n + c)] : 0;
      if (is != wanted)
        WHITTLE_FAIL(name_of(one, bench) << ": byte " << c << " of row " << r << " is " << is << ", not " << wanted);
    }
  for (int64_t h = 0; h < one.heads; ++h)
    for (int64_t r = 0; r < scale_stride; ++r) {
      const size_t at = static_cast<size_t>(h * scale_stride + r);
      float untouched;
      std::memset(&untouched, 0x7f, sizeof untouched);
      const float wanted = r < one.m ? of_heads[at] : untouched;
      if (found_scales[at] != wanted)
        WHITTLE_FAIL(name_of(one, bench) << ": scale of head " << h << " of row " << r << " is " << found_scales[at]
                                         << ", not " << wanted);
    }
}

}  // namespace

TEST(cuda_heads, products) {
  std::mt19937_64 random = generator(1);
  for (GpuDevice* device : cuda_devices())
    for (const Case& one : kCases)
      for (const int most_outliers : {0, 3}) {
        CudaBench bench(*device);
        const int64_t m = one.m, n = one.heads * one.head_size;
        CHECK(cuda::product_gives_heads(one.head_size));
        Int8Product product(bench, random, {m, n, one.k});
        if (most_outliers > 0) product.add_outliers(bench, random, most_outliers);
        const auto row_scales = random_floats(random, m, 0.01f);
        auto scales = random_floats(random, n, 0.02f), bias = random_floats(random, n);
        // Heads of zeros, and of numbers whose scale is no normal one.
        for (int64_t c = 0; c < n; ++c) {
          const int64_t kind = c / one.head_size % 4;
          if (kind != 1 && kind != 2) continue;
          scales[static_cast<size_t>(c)] = 0;
          bias[static_cast<size_t>(c)] = kind == 1 ? 0.9e-36f : 1.2e-36f / static_cast<float>(c % 7 - 3.5);
        }
        std::vector<float> x(static_cast<size_t>(m * n));
        const SumsS8 sums{
            product.sums.data(), n, row_scales.data(), scales.data(), nullptr, nullptr, nullptr, nullptr, 0};
        kernels_for(Isa::ref)->epilogue_s8(sums, m, n, bias.data(), Activation::none, nullptr, 0, x.data(), n);
        cuda::Gemm& call = product.call;
        call.a.scales = bench.put(row_scales);
        call.w_scales = bench.put(scales);
        call.bias = bench.put(bias);
        product.gives(bench, cuda::Format::heads);
        int8_t* y = bench.take<int8_t>((m + kMore) * n);
        call.y = y;
        call.head_size = one.head_size;
        call.head_scale_stride = m + kMore;
        call.head_scales = bench.take<float>(one.heads * call.head_scale_stride);
        bench.kernels().gemm_s8(call, bench.stream());
        check_heads(bench, one, x, y, n, call.head_scales);
      }
}

TEST(cuda_heads, rows) {
  std::mt19937_64 random = generator(2);
  for (GpuDevice* device : cuda_devices())
    for (const int64_t head_size : {1, 7, 16, 20, 32, 33, 100, 128, 150})
      for (const int64_t heads : {1, 3, 6, 12}) {
        CudaBench bench(*device);
        const Case one{head_size % 3 * 8 + heads, heads, head_size, 0};
        const int64_t n = heads * head_size, stride = (n + 15) / 16 * 16;
        std::vector<float> x = random_floats(random, one.m * n);
        // The first row is zeros, the second's scales are no normal numbers.
        for (int64_t c = 0; c < n; ++c) {
          x[static_cast<size_t>(c)] *= 1e-38f;
          if (one.m > 1) x[static_cast<size_t>(n + c)] = c % head_size == 0 ? -1.1e-36f : 0.3e-36f;
        }
        cuda::HeadRows call{};
        call.rows = bench.put_one(static_cast<int32_t>(one.m));
        call.most_rows = one.m + 20;
        call.heads = heads;
        call.head_size = head_size;
        call.x = bench.put(x);
        call.y = bench.take<int8_t>((one.m + kMore) * stride);
        call.y_stride = stride;
        call.scale_stride = one.m + kMore;
        call.scales = bench.take<float>(heads * call.scale_stride);
        bench.kernels().quantize_heads_s8(call, bench.stream());
        check_heads(bench, one, x, call.y, stride, call.scales);
      }
}
