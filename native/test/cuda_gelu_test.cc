// The product with GELU and quantization in its epilogue, bit for bit against the CPU's kernels and against the product
// and the quantization one after the other.
#include <algorithm>

#include "kernels/kernel_table.h"
#include "test/cuda_products.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Result {
  std::vector<uint8_t> data;
  std::vector<float> scales;
  std::vector<int32_t> offsets;
};

// A product with outliers, and what the CPU makes of it.
struct GeluProduct {
  ProductShape shape;
  std::vector<int8_t> w;
  cuda::GemmGelu call{};
  std::vector<float> row_scales, bias;
  Result expected;  // data [m, n]

  GeluProduct(CudaBench& bench, std::mt19937_64& random, const ProductShape& s, int most) : shape(s) {
    const auto [m, n, k] = s;
    Int8Product product(bench, random, s);
    product.add_outliers(bench, random, most);
    w = product.w;
    row_scales = random_floats(random, m, 0.01f);
    const auto scales = random_floats(random, n, 0.02f);
    bias = random_floats(random, n);
    // Rows whose maximum is in any panel, and one without a positive result.
    for (float& scale : row_scales) scale = std::abs(scale) * std::exp2(static_cast<float>(random() % 12) - 9);
    if (m > 2) row_scales[2] = 0;
    if (m > 3) row_scales[3] = 1e30f;
    call.rows = product.call.rows;
    call.most_rows = product.call.most_rows;
    call.n = n;
    call.a = product.call.a;
    call.a.scales = bench.put(row_scales);
    call.w = stored(bench, cuda::Format::operand_s8);
    call.w_scales = bench.put(scales);
    call.columns = product.call.columns;
    call.bias = bench.put(bias);

    std::vector<float> gelu(product.sums.size());
    const SumsS8 of_cpu{product.sums.data(), n, row_scales.data(), scales.data(), nullptr, nullptr, nullptr,
                        nullptr,             0};
    kernels_for(Isa::ref)->epilogue_s8(of_cpu, m, n, bias.data(), Activation::gelu, nullptr, 0, gelu.data(), n);
    expected = {std::vector<uint8_t>(gelu.size()), std::vector<float>(static_cast<size_t>(m)),
                std::vector<int32_t>(static_cast<size_t>(m))};
    std::vector<uint8_t> padded(static_cast<size_t>(m * padded_k(n)));
    kernels_for(Isa::ref)->quantize_gelu_u8(gelu.data(), n, m, n, padded.data(), padded_k(n), expected.scales.data(),
                                            expected.offsets.data());
    for (int64_t r = 0; r < m; ++r)
      for (int64_t c = 0; c < n; ++c)
        expected.data[static_cast<size_t>(r * n + c)] =
            static_cast<uint8_t>(padded[static_cast<size_t>(r * padded_k(n) + c)] - 128);
  }

  const uint8_t* stored(CudaBench& bench, cuda::Format format) const {
    return put_weights(bench, w, shape.n, shape.k, format);
  }

  cuda::Operand result_memory(CudaBench& bench) const {
    cuda::Operand y;
    y.k = shape.n;
    y.data = bench.take<uint8_t>(cuda::operand_bytes(cuda::Form::int8, shape.m, shape.n));
    y.scales = bench.take<float>(shape.m);
    y.offsets = bench.take<int32_t>(shape.m);
    return y;
  }

  void check(CudaBench& bench, const cuda::Operand& y, const std::string& name) const {
    const auto [m, n, k] = shape;
    const auto stored = bench.get(y.data, cuda::operand_bytes(cuda::Form::int8, m, n));
    const auto scales = bench.get(y.scales, m);
    const auto offsets = bench.get(y.offsets, m);
    const std::string what = std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k) + ", " + name;
    for (int64_t r = 0; r < m; ++r) {
      const size_t row = static_cast<size_t>(r);
      if (scales[row] != expected.scales[row] || offsets[row] != expected.offsets[row])
        WHITTLE_FAIL(what << ": row " << r << " has scale " << scales[row] << " and offset " << offsets[row] << ", not "
                          << expected.scales[row] << " and " << expected.offsets[row]);
      for (int64_t c = 0; c < n; ++c) {
        const uint8_t found = stored[static_cast<size_t>(cuda::operand_offset(r, c, cuda::part_blocks(y.form, n)))];
        const uint8_t wanted = expected.data[static_cast<size_t>(r * n + c)];
        if (found != wanted)
          WHITTLE_FAIL(what << ": row " << r << ", column " << c << " is " << int{found} << ", not " << int{wanted});
      }
    }
    // Rows behind the last stay as they were.
    const int64_t rows = (m + cuda::kBlockRows - 1) / cuda::kBlockRows * cuda::kBlockRows;
    for (int64_t r = m; r < rows; ++r)
      for (int64_t c = 0; c < n; ++c)
        CHECK_EQUAL(int{stored[static_cast<size_t>(cuda::operand_offset(r, c, cuda::part_blocks(y.form, n)))]}, 0x7f);
  }
};

uint32_t* put_exchange(CudaBench& bench, const cuda::GeluGrid& grid) {
  return bench.put(std::vector<uint32_t>(static_cast<size_t>(cuda::gelu_exchange_words(grid)), 0));
}

// Grids of this many panels that the device can have at work at once.
std::vector<cuda::GeluGrid> grids(const cuda::KernelTable& kernels, int64_t n, int64_t k) {
  std::vector<cuda::GeluGrid> all;
  const int panels = static_cast<int>(n / 128);
  for (int size = 0; size < 3; ++size)
    for (const int groups : {1, 2, std::min(kernels.gelu_blocks[size] / panels, 3)})
      if (panels % (1 << size) == 0 && groups > 0 && groups * panels <= kernels.gelu_blocks[size])
        all.push_back({panels, groups, 1 << size});
  return all;
}

}  // namespace

// Again and again with the same exchange, in the shim's orders of threads, with numbers of rows that leave each
// warpgroup with another number of tiles.
TEST(cuda_gelu, bit_for_bit_the_cpu) {
  std::mt19937_64 random = generator(1);
  for (GpuDevice* device : cuda_devices()) {
    CudaBench bench(*device);
    const auto kernels = device->kernels();
    if (!kernels.gemm_gelu_s8) continue;
    for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{{128, 64}, {256, 320}, {384, 130}, {512, 200}})
      for (const cuda::GeluGrid& grid : grids(kernels, n, k)) {
        uint32_t* exchange = put_exchange(bench, grid);
        for (const int64_t m : {1, 64, 200, 63, 500, 65, 200}) {
          GeluProduct product(bench, random, {m, n, k}, m % 2 == 0 ? 0 : static_cast<int>(m % 4));
          product.call.grid = grid;
          product.call.exchange = exchange;
          product.call.y = product.result_memory(bench);
          kernels.gemm_gelu_s8(product.call, bench.stream());
          product.check(bench, product.call.y, "groups " + std::to_string(grid.groups) + ", clusters of " +
                                                   std::to_string(grid.cluster));
        }
      }
  }
}

// As many tiles a block as it takes to go round the stages several times, for numbers of blocks of k that do and do not
// divide those of stages and barriers.
TEST(cuda_gelu, goes_round_the_stages) {
  std::mt19937_64 random = generator(3);
  for (GpuDevice* device : cuda_devices()) {
    CudaBench bench(*device);
    const cuda::KernelTable& kernels = device->kernels();
    if (!kernels.gemm_gelu_s8) continue;
    for (const int64_t blocks : {1, 3, 5, 8}) {
      const GeluProduct product(bench, random, {64 * 25 - 30, 256, 128 * blocks}, 1);
      for (const int cluster : {1, 2, 1, 2, 1, 2}) {
        if (kernels.gelu_blocks[cluster - 1] < 2) continue;
        cuda::GemmGelu call = product.call;
        call.grid = {2, 1, cluster};
        call.exchange = put_exchange(bench, call.grid);
        call.y = product.result_memory(bench);
        kernels.gemm_gelu_s8(call, bench.stream());
        product.check(bench, call.y, "clusters of " + std::to_string(cluster));
      }
    }
  }
}

TEST(cuda_gelu, the_same_as_two_kernels) {
  std::mt19937_64 random = generator(2);
  for (GpuDevice* device : cuda_devices()) {
    CudaBench bench(*device);
    const cuda::KernelTable& kernels = device->kernels();
    GeluProduct product(bench, random, {130, 256, 192}, 2);
    const cuda::GemmGelu& fused = product.call;
    cuda::Gemm call{};
    call.rows = fused.rows;
    call.most_rows = fused.most_rows;
    call.n = fused.n;
    call.a = fused.a;
    call.w = product.stored(bench, cuda::Format::f32);
    call.w_scales = fused.w_scales;
    call.columns = fused.columns;
    call.bias = fused.bias;
    call.format = cuda::Format::f32;
    float* widened = bench.take<float>(130 * 256);
    call.y = widened;
    kernels.gemm_s8(call, bench.stream());
    cuda::Rows rows{fused.rows, fused.most_rows, fused.n, widened, {}};
    rows.result.operand = product.result_memory(bench);
    kernels.quantize_gelu_u8(rows, bench.stream());
    product.check(bench, rows.result.operand, "two kernels");
  }
}

TEST(cuda_gelu, grids_fit_and_are_as_many_as_can_be) {
  cuda::KernelTable table{};
  CHECK(!cuda::gelu_grid(table, 1024, 256).possible());
  table.gelu_blocks[0] = 132, table.gelu_blocks[1] = 132, table.gelu_blocks[2] = 128;
  const auto expect = [&](int64_t n, int64_t k, int groups, int cluster) {
    const cuda::GeluGrid grid = cuda::gelu_grid(table, n, k);
    CHECK_EQUAL(grid.groups, groups);
    if (groups > 0) CHECK_EQUAL(grid.cluster, cluster);
  };
  expect(4096, 1024, 4, 4);   // BERT-large
  expect(3072, 768, 5, 4);    // BERT-base
  expect(1536, 384, 11, 2);   // MiniLM: clusters of 4 would leave out a group
  expect(128 * 131, 64, 1, 1);
  expect(128 * 133, 64, 0, 0);
  expect(1000, 256, 0, 0);
  expect(1024, 1025, 0, 0);
}
