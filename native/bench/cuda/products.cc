// The ceilings of the GPU, and its matrix products.
#include <cstdlib>

#include "bench/cuda/bench.h"
#include "formats/half.h"
#include "test/buffers.h"

namespace whittle::bench {

using test::CudaBench;

namespace {

// Of whom the operand A is a result, which says what an int8 product does beside multiplying.
enum class Input {
  plain,  // attention: nothing
  norm,   // LayerNorm: two outliers a row
  gelu    // GELU: an offset a row
};

struct Product {
  const char* name;
  int64_t m, n, k;
  cuda::Form form;
  Input input;
  cuda::Activation activation;
  cuda::Format format;
  bool residual;
  int64_t head_size = 0;  // of Format::heads
};

// Random bf16 between -2 and 2, so that no exponent is extreme.
std::vector<uint16_t> many_bf16(std::mt19937_64& random, int64_t count) {
  std::vector<uint16_t> values;
  for (const float value : many_floats(random, count, 0.5f))
    values.push_back(float_to_bf16(std::clamp(value, -2.0f, 2.0f)));
  return values;
}

uint8_t* put_operand(CudaBench& bench, std::mt19937_64& random, cuda::Form form, int64_t rows, int64_t k) {
  const int64_t bytes = cuda::operand_bytes(form, rows, k);
  if (form == cuda::Form::int8) return bench.put(random_bytes(random, bytes));
  return reinterpret_cast<uint8_t*>(bench.put(many_bf16(random, bytes / 2)));
}

int64_t out_bytes(const Product& p) {
  if (p.format == cuda::Format::operand) return cuda::operand_bytes(p.form, p.m, p.n);
  return p.m * p.n * (p.format == cuda::Format::f32 ? 4 : p.format == cuda::Format::f16 ? 2 : 1);
}

void put_outliers(CudaBench& bench, std::mt19937_64& random, const Product& p, cuda::Gemm& call) {
  call.a.most_outliers = 2;
  call.a.outlier_counts = bench.put(std::vector<int32_t>(static_cast<size_t>(p.m), 2));
  // Those of trained models stand in the same channels in most rows.
  std::vector<cuda::Outlier> outliers;
  for (int64_t i = 0; i < 2 * p.m; ++i)
    outliers.push_back({static_cast<int32_t>(i % 2 == 0 ? p.k / 7 : p.k / 2), static_cast<int32_t>(random() % 400)});
  call.a.outliers = bench.put(outliers);
  const std::vector<uint8_t> columns = random_bytes(random, p.k * p.n);
  call.columns = bench.put(std::vector<int8_t>(columns.begin(), columns.end()));
}

cuda::Gemm put_product(CudaBench& bench, const Product& p, std::mt19937_64& random) {
  const bool int8 = p.form == cuda::Form::int8;
  const auto floats = [&](int64_t count, float scale) { return bench.put(many_floats(random, count, scale)); };
  cuda::Gemm call{};
  call.rows = bench.put_one(static_cast<int32_t>(p.m));
  call.most_rows = p.m;
  call.n = p.n;
  call.a.form = p.form;
  call.a.k = p.k;
  call.a.data = put_operand(bench, random, p.form, p.m, p.k);
  const int64_t stored = (p.n + cuda::kWeightRows - 1) / cuda::kWeightRows * cuda::kWeightRows;
  call.w = put_operand(bench, random, p.form, stored, p.k);
  call.bias = floats(p.n, 0.1f);
  call.activation = p.activation;
  if (p.residual) {
    std::vector<uint16_t> halves;
    for (const float value : many_floats(random, p.m * p.n, 1)) halves.push_back(float_to_half(value));
    call.residual = bench.put(halves);
    call.residual_stats = bench.put(std::vector<cuda::RowStats>(static_cast<size_t>(p.m), {0.01f, 1.01f}));
    call.residual_gamma = floats(p.n, 0.5f);
    call.residual_beta = floats(p.n, 0.1f);
  }
  call.format = p.format;
  call.y = bench.take<char>(out_bytes(p));
  call.y_form = p.form;
  if (p.format == cuda::Format::heads) {
    call.head_size = p.head_size;
    call.head_scale_stride = p.m;
    call.head_scales = bench.take<float>(p.n / p.head_size * p.m);
  }
  if (!int8) return call;
  // Sums of k products of bytes are about 74^2 sqrt(k): scales that make the results as large as those of a model.
  call.a.scales = floats(p.m, 0.01f);
  call.w_scales = floats(p.n, 0.01f);
  if (p.input == Input::norm) put_outliers(bench, random, p, call);
  if (p.input == Input::gelu) {
    std::vector<int32_t> offsets, sums;
    for (int64_t i = 0; i < p.m; ++i) offsets.push_back(static_cast<int32_t>(100 + random() % 28));
    for (int64_t i = 0; i < p.n; ++i) sums.push_back(static_cast<int32_t>(random() % 4096) - 2048);
    call.a.offsets = bench.put(offsets);
    call.w_sums = bench.put(sums);
  }
  return call;
}

int64_t bytes_of(const Product& p) {
  return cuda::operand_bytes(p.form, p.m, p.k) + cuda::operand_bytes(p.form, p.n, p.k) + out_bytes(p) +
         (p.residual ? 2 * p.m * p.n : 0);
}

void time_product(GpuDevice& device, const GpuFacts& facts, const Product& p, const Options& options, Report& report) {
  std::mt19937_64 random(1);
  CudaBench bench(device);
  std::vector<cuda::Gemm> calls;
  const int sets = options.quick ? 1 : sets_of(bytes_of(p), facts);
  for (int i = 0; i < sets; ++i) calls.push_back(put_product(bench, p, random));
  const bool int8 = p.form == cuda::Form::int8;
  const auto kernel = int8 ? bench.kernels().gemm_s8 : bench.kernels().gemm_bf16;
  const double us =
      median_us(bench, options, sets, [&](int set) { kernel(calls[static_cast<size_t>(set)], bench.stream()); });
  const double multiplied = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k) *
                            (p.form == cuda::Form::split ? 3 : 1);
  const double rate = multiplied / us * 1e6, unit = int8 ? 1 : 0.5;  // of the int8 rate that the matrix units have
  const std::string shape = std::to_string(p.m) + " x " + std::to_string(p.n) + " x " + std::to_string(p.k);
  Figure figure{"products", p.name + (" " + shape), "TOP/s", rate / 1e12, {{"us", us}}};
  const double sheet = data_sheet_int8(device.info().name);
  if (sheet > 0) figure.more.emplace_back("shareOfDataSheet", rate / (unit * sheet));
  if (report.int8_peak > 0) figure.more.emplace_back("shareOfMeasured", rate / (unit * report.int8_peak));
  // Inputs read once, outputs written once.
  const double moved = static_cast<double>(bytes_of(p)) / us * 1e6;
  figure.more.emplace_back("GB/s", moved / 1e9);
  report.add(figure);
}

// The product before GELU, GELU and quantization: two kernels, and one in each size of clusters, unless the environment
// keeps the engine to two.
void time_gelu(GpuDevice& device, const GpuFacts& facts, const Product& p, const Options& options, Report& report) {
  std::mt19937_64 random(1);
  CudaBench bench(device);
  const cuda::KernelTable& kernels = bench.kernels();
  const int64_t result = cuda::operand_bytes(cuda::Form::int8, p.m, p.n);
  const int sets = options.quick ? 1 : sets_of(bytes_of(p) - out_bytes(p) + result, facts);
  std::vector<cuda::Gemm> calls;
  std::vector<cuda::Rows> rows;
  for (int i = 0; i < sets; ++i) {
    calls.push_back(put_product(bench, p, random));
    const cuda::Gemm& call = calls.back();
    rows.push_back({call.rows, p.m, p.n, static_cast<const float*>(call.y), {}});
    cuda::Operand& y = rows.back().result.operand;
    y.k = p.n;
    y.data = bench.take<uint8_t>(result);
    y.scales = bench.take<float>(p.m);
    y.offsets = bench.take<int32_t>(p.m);
  }
  const std::string shape = std::to_string(p.m) + " x " + std::to_string(p.n) + " x " + std::to_string(p.k);
  const auto add = [&](const std::string& how, double us) {
    const double moved = static_cast<double>(bytes_of(p) - out_bytes(p) + result) / us * 1e6;
    report.add({"products", p.name + (" " + shape + ", ") + how, "us", us, {{"GB/s", moved / 1e9}}});
  };
  add("two kernels", median_us(bench, options, sets, [&](int set) {
        kernels.gemm_s8(calls[static_cast<size_t>(set)], bench.stream());
        kernels.quantize_gelu_u8(rows[static_cast<size_t>(set)], bench.stream());
      }));
  if (std::getenv("WHITTLE_BENCH_SEPARATE_GELU")) return;
  for (int size = 0; size < 3; ++size) {
    // What gelu_grid would choose if there were no other clusters.
    cuda::KernelTable only = kernels;
    for (int other = 0; other < 3; ++other)
      if (other != size) only.gelu_blocks[other] = 0;
    const cuda::GeluGrid grid = cuda::gelu_grid(only, p.n, p.k);
    if (!grid.possible()) continue;
    uint32_t* exchange =
        bench.put(std::vector<uint32_t>(static_cast<size_t>(cuda::gelu_exchange_words(grid)), 0));
    const double us = median_us(bench, options, sets, [&](int set) {
      const cuda::Gemm& call = calls[static_cast<size_t>(set)];
      kernels.gemm_gelu_s8({call.rows, p.m, p.n, call.a, call.w, call.w_scales, call.columns, call.bias,
                            rows[static_cast<size_t>(set)].result.operand, grid, exchange},
                           bench.stream());
    });
    add("one kernel, clusters of " + std::to_string(grid.cluster) + ", " + std::to_string(grid.groups) + " groups", us);
  }
}

}  // namespace

void time_ceilings(GpuDevice& device, const GpuFacts& facts, const Options& options, Report& report) {
  CudaBench bench(device);
  const int64_t bytes = options.quick ? 1 << 20 : std::max<int64_t>(int64_t{1} << 30, 8 * facts.l2_bytes);
  std::mt19937_64 random(1);
  const uint8_t* from = bench.put(random_bytes(random, bytes));
  uint8_t* to = bench.take<uint8_t>(bytes);
  const double us = median_us(bench, options, 1, [&](int) { copy_on_device(to, from, bytes, bench.stream()); });
  report.copy_bytes = 2.0 * static_cast<double>(bytes) / us * 1e6;
  report.add({"ceilings", "copy within the GPU, bytes read and written", "GB/s", report.copy_bytes / 1e9, {}});
  int32_t* out = bench.take<int32_t>(kPeakOutputs);
  double operations = 0;
  const double peak_us =
      median_us(bench, options, 1, [&](int) { operations = launch_int8_peak(device.info(), out, bench.stream()); });
  report.int8_peak = operations / peak_us * 1e6;
  report.add({"ceilings", "int8 products without memory", "TOP/s", report.int8_peak / 1e12, {}});
}

void time_products(GpuDevice& device, const GpuFacts& facts, const Options& options, Report& report) {
  using cuda::Activation, cuda::Form, cuda::Format;
  constexpr auto kNone = Activation::none, kGelu = Activation::gelu;
  const std::vector<Product> products = {
      {"int8, heads out", 16384, 4096, 1024, Form::int8, Input::plain, kNone, Format::heads, false, 64},
      {"int8, float32 out", 16384, 4096, 1024, Form::int8, Input::plain, kNone, Format::f32, false},
      {"int8, outliers, float32 out", 16384, 4096, 1024, Form::int8, Input::norm, kNone, Format::f32, false},
      {"int8, heads out", 8192, 8192, 8192, Form::int8, Input::plain, kNone, Format::heads, false, 128},
      {"int8, outliers, heads out", 16384, 3072, 1024, Form::int8, Input::norm, kNone, Format::heads, false, 64},
      {"int8, normed residual", 16384, 1024, 1024, Form::int8, Input::plain, kNone, Format::f16, true},
      {"int8, offsets, normed residual", 16384, 1024, 4096, Form::int8, Input::gelu, kNone, Format::f16, true},
      {"int8, outliers, heads out", 16384, 2304, 768, Form::int8, Input::norm, kNone, Format::heads, false, 64},
      {"int8, outliers, float32 out", 16384, 3072, 768, Form::int8, Input::norm, kNone, Format::f32, false},
      {"int8, offsets, normed residual", 16384, 768, 3072, Form::int8, Input::gelu, kNone, Format::f16, true},
      {"int8, outliers, heads out", 16384, 1152, 384, Form::int8, Input::norm, kNone, Format::heads, false, 32},
      {"bf16, float32 out", 16384, 4096, 1024, Form::bf16, Input::plain, kNone, Format::f32, false},
      {"bf16, GELU, bf16 out", 16384, 4096, 1024, Form::bf16, Input::plain, kGelu, Format::operand, false},
      {"float32 as three bf16", 16384, 4096, 1024, Form::split, Input::plain, kNone, Format::f32, false}};
  for (Product p : products) {
    if (options.quick) p.m = 130, p.n = (p.n / 16 + 127) / 128 * 128, p.k /= 16;  // whole heads
    if (report.has_time(p.name)) time_product(device, facts, p, options, report);
  }
  for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{{4096, 1024}, {3072, 768}, {1536, 384}}) {
    Product p{"int8, outliers, GELU, int8 out", 16384, n, k, Form::int8, Input::norm, kNone, Format::f32, false};
    if (options.quick) p.m = 130, p.n = n / 1024 * 128, p.k /= 16;
    if (report.has_time(p.name)) time_gelu(device, facts, p, options, report);
  }
}

}  // namespace whittle::bench
