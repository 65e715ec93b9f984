// Times of the CUDA kernels and of whole encoders on GPU 0: medians by CUDA events over replays of a graph.
//
//   whittle_cuda_bench [--quick]
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "cpu/thread_pool.h"
#include "engine/cuda_executor.h"
#include "engine/gpu_backend.h"
#include "test/cuda_devices.h"
#include "test/small_model.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// Microseconds of what `work` enqueues: the median of `rounds` after warming up.
template <typename Work>
double median_us(CudaBench& bench, int rounds, const Work& work) {
  const auto stream = static_cast<cudaStream_t>(bench.stream());
  const GpuGraph graph = bench.device().capture(bench.stream(), work);
  cudaEvent_t begin, end;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  std::vector<float> times;
  for (int i = 0; i < rounds + 5; ++i) {
    cudaEventRecord(begin, stream);
    bench.device().launch(graph, bench.stream());
    cudaEventRecord(end, stream);
    bench.device().synchronize(bench.stream());
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, begin, end);
    if (i >= 5) times.push_back(milliseconds * 1000);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  bench.device().destroy(graph);
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return times[static_cast<size_t>(rounds / 2)];
}

std::vector<uint8_t> random_bytes(std::mt19937_64& random, int64_t count) {
  std::vector<uint8_t> bytes(static_cast<size_t>(count / 8 * 8));
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t value = random();
    std::memcpy(&bytes[i], &value, 8);
  }
  return bytes;
}

// Random bf16 between -2 and 2, so that no exponent is extreme.
std::vector<uint8_t> random_bf16(std::mt19937_64& random, int64_t bytes) {
  std::vector<uint16_t> values(static_cast<size_t>(bytes / 2));
  std::uniform_real_distribution<float> any(-2, 2);
  for (uint16_t& value : values) value = float_to_bf16(any(random));
  std::vector<uint8_t> result(static_cast<size_t>(bytes));
  std::memcpy(result.data(), values.data(), result.size());
  return result;
}

struct Product {
  const char* name;
  int64_t m, n, k;
  cuda::Form form;
  cuda::Activation activation;
  cuda::Format format;
  bool residual;
};

void time_product(GpuDevice& device, const Product& p, std::mt19937_64& random, int rounds) {
  CudaBench bench(device);
  const bool int8 = p.form == cuda::Form::int8;
  const auto operand = [&](int64_t rows) {
    const int64_t bytes = cuda::operand_bytes(p.form, rows, p.k);
    return bench.put(int8 ? random_bytes(random, bytes) : random_bf16(random, bytes));
  };
  const auto floats = [&](int64_t count) { return bench.put(random_floats(random, count, 0.01f)); };
  cuda::Gemm call{};
  call.rows = bench.put_one(static_cast<int32_t>(p.m));
  call.most_rows = p.m;
  call.n = p.n;
  call.a.form = p.form;
  call.a.k = p.k;
  call.a.data = operand(p.m);
  call.a.scales = floats(p.m);
  call.w = operand((p.n + 255) / 256 * 256);
  call.w_scales = int8 ? floats(p.n) : nullptr;
  call.bias = floats(p.n);
  call.activation = p.activation;
  call.residual = p.residual ? floats(p.m * p.n) : nullptr;
  call.format = p.format;
  call.y = bench.take<float>(p.m * p.n);
  call.y_form = p.form;
  const auto kernel = int8 ? bench.kernels().gemm_s8 : bench.kernels().gemm_bf16;
  const double us = median_us(bench, rounds, [&] { kernel(call, bench.stream()); });
  const double operations = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
  std::printf("%-28s %6ld x %5ld x %5ld %10.1f us %8.1f TOP/s\n", p.name, static_cast<long>(p.m),
              static_cast<long>(p.n), static_cast<long>(p.k), us, operations / us / 1e6);
}

void time_attention(GpuDevice& device, int64_t sequences, int64_t length, int64_t heads, int64_t size,
                    std::mt19937_64& random, int rounds, bool exact) {
  CudaBench bench(device);
  const int64_t tokens = sequences * length, hidden = heads * size;
  std::vector<int32_t> offsets;
  std::vector<cuda::AttentionTile> tiles;
  for (int64_t s = 0; s <= sequences; ++s) offsets.push_back(static_cast<int32_t>(s * length));
  for (int64_t s = 0; s < sequences; ++s)
    for (int64_t q = 0; q < length; q += 64) tiles.push_back({static_cast<int32_t>(s), static_cast<int32_t>(q)});
  std::vector<uint16_t> qkv;
  for (const float value : random_floats(random, tokens * 3 * hidden))
    qkv.push_back(exact ? float_to_bf16(value) : float_to_half(value));
  cuda::Attention call{};
  call.tile_count = bench.put_one(static_cast<int32_t>(tiles.size()));
  call.most_tiles = static_cast<int64_t>(tiles.size());
  call.tiles = bench.put(tiles);
  call.offsets = bench.put(offsets);
  call.heads = heads;
  call.head_size = size;
  call.qkv = bench.put(qkv);
  call.format = exact ? cuda::Format::f32 : cuda::Format::f16;
  call.y = bench.take<float>(tokens * hidden);
  const auto kernel = exact ? bench.kernels().attention_rows_bf16 : bench.kernels().attention;
  const double us = median_us(bench, rounds, [&] { kernel(call, bench.stream()); });
  const double operations = 4.0 * static_cast<double>(tokens * length * hidden);
  std::printf("%-28s %4ld sequences of %3ld, %2ld heads of %3ld %6.1f us %8.1f TFLOP/s\n",
              exact ? "attention, CPU's bits" : "attention",
              static_cast<long>(sequences), static_cast<long>(length), static_cast<long>(heads),
              static_cast<long>(size), us, operations / us / 1e6);
}

void time_rows(GpuDevice& device, int64_t rows, int64_t cols, std::mt19937_64& random, int rounds) {
  CudaBench bench(device);
  cuda::Rows call{bench.put_one(static_cast<int32_t>(rows)),
                  rows,
                  cols,
                  bench.put(random_floats(random, rows * cols)),
                  cuda::Format::f32,
                  {}};
  call.result = {bench.put(random_floats(random, cols)),
                 bench.put(random_floats(random, cols)),
                 1e-12f,
                 bench.take<float>(rows * cols),
                 {}};
  call.result.operand.k = cols;
  call.result.operand.data = bench.take<uint8_t>(cuda::operand_bytes(cuda::Form::int8, rows, cols));
  call.result.operand.scales = bench.take<float>(rows);
  call.result.operand.most_outliers = 2;
  call.result.operand.outlier_counts = bench.take<int32_t>(rows);
  call.result.operand.outliers = bench.take<cuda::Outlier>(rows * 2);
  const double us = median_us(bench, rounds, [&] { bench.kernels().layer_norm(call, bench.stream()); });
  std::printf("%-28s %6ld x %5ld %18.1f us %8.1f GB/s\n", "layer_norm to int8", static_cast<long>(rows),
              static_cast<long>(cols), us, static_cast<double>(rows * cols) * 9 / us / 1e3);
}

// Weights [rows, cols]: counted, masked and rounded.
void time_compression(GpuDevice& device, int64_t rows, int64_t cols, std::mt19937_64& random, int rounds) {
  CudaBench bench(device);
  const int64_t count = rows * cols;
  const auto values = random_floats(random, count, 0.05f);
  const float* x = bench.put(values);
  uint64_t* counts = bench.take<uint64_t>(cuda::kLowerBins);
  uint8_t* bytes = bench.take<uint8_t>(count);
  int32_t* ties = bench.take<int32_t>(count / cuda::kMaskBlock + 1);
  const cuda::WeightRows weights = {x, rows, cols, bench.take<int8_t>(count), bench.take<float>(rows),
                                    bench.take<double>(rows), bench.take<double>(rows)};
  const auto time = [&](const char* name, int bytes_each, const auto& work) {
    const double us = median_us(bench, rounds, work);
    std::printf("%-28s %6ld x %5ld %18.1f us %8.1f GB/s\n", name, static_cast<long>(rows), static_cast<long>(cols), us,
                static_cast<double>(count) * bytes_each / us / 1e3);
  };
  const cuda::KernelTable& kernels = bench.kernels();
  time("magnitude_histogram, upper", 4, [&] { kernels.magnitude_histogram({x, count, -1, counts}, bench.stream()); });
  time("magnitude_histogram, lower", 4,
       [&] { kernels.magnitude_histogram({x, count, 0x3d00, counts}, bench.stream()); });
  time("magnitude_mask", 5,
       [&] { kernels.magnitude_mask({x, count, 0.03f, bytes, ties, nullptr, 0}, bench.stream()); });
  time("quantize_weight_rows", 5, [&] { kernels.quantize_weight_rows(weights, bench.stream()); });
}

// Whole encoders with random weights: sequences/s of the engine, by the host's clock, ids in and logits out.
void time_encoder(GpuDevice& device, const char* name, const SmallModelOptions& options, Precision precision,
                  const std::vector<int64_t>& lengths, std::mt19937_64& random) {
  const SmallModel model(options, precision, random);
  CudaEngine engine({&device}, model.spec, kernels(), ThreadPool::instance().default_threads(), [] {});
  const SmallBatch batch(lengths, model.spec, random);
  std::vector<float> out(lengths.size() * static_cast<size_t>(options.labels));
  std::vector<double> seconds;
  for (int i = 0; i < 7; ++i) {
    timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    engine.run(batch.batch(), Output::logits, out.data(), {});
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (i >= 2)
      seconds.push_back(static_cast<double>(end.tv_sec - begin.tv_sec) +
                        1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec));
  }
  std::nth_element(seconds.begin(), seconds.begin() + 2, seconds.end());
  std::printf("%-28s %zu sequences, %ld tokens %10.1f sequences/s\n", name, lengths.size(),
              static_cast<long>(batch.batch().tokens()), static_cast<double>(lengths.size()) / seconds[2]);
}

}  // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && std::strcmp(arguments[1], "--quick") == 0;
  const int rounds = quick ? 5 : 51;
  try {
    GpuDevice& device = gpu_device(0);
    std::mt19937_64 random(1);
    std::printf("%s, sm_%d, %d multiprocessors, CUDA %d\n", device.info().name.c_str(), device.info().capability,
                device.info().multiprocessors, gpu_support().driver_version / 1000);
    using cuda::Activation, cuda::Form, cuda::Format;
    for (const Product& p : std::initializer_list<Product>{
             {"int8, float32 out", 16384, 4096, 1024, Form::int8, Activation::none, Format::f32, false},
             {"int8, GELU, float32 out", 16384, 4096, 1024, Form::int8, Activation::gelu, Format::f32, false},
             {"int8, GELU, float16 out", 16384, 4096, 1024, Form::int8, Activation::gelu, Format::f16, false},
             {"int8, float16 out", 16384, 3072, 1024, Form::int8, Activation::none, Format::f16, false},
             {"int8, residual", 16384, 1024, 4096, Form::int8, Activation::none, Format::f32, true},
             {"int8, residual", 16384, 1024, 1024, Form::int8, Activation::none, Format::f32, true},
             {"int8, float16 out", 16384, 1152, 384, Form::int8, Activation::none, Format::f16, false},
             {"bf16, float32 out", 16384, 4096, 1024, Form::bf16, Activation::none, Format::f32, false},
             {"float32 as three bf16", 16384, 4096, 1024, Form::split, Activation::none, Format::f32, false}})
      time_product(device, p, random, rounds);
    for (const bool exact : {true, false}) {
      time_attention(device, 128, 128, 12, 64, random, rounds, exact);
      time_attention(device, 64, 180, 16, 64, random, rounds, exact);
      time_attention(device, 512, 32, 12, 64, random, rounds, exact);
      time_attention(device, 128, 128, 12, 32, random, rounds, exact);
    }
    time_rows(device, 16384, 1024, random, rounds);
    time_rows(device, 16384, 384, random, rounds);
    time_compression(device, 16384, 1024, random, rounds);
    SmallModelOptions base;
    base.layers = quick ? 2 : 12, base.hidden = 768, base.heads = 12, base.intermediate = 3072, base.positions = 512;
    base.vocabulary = 30522, base.stored_s8 = true;
    SmallModelOptions large = base;
    large.layers = quick ? 2 : 24, large.hidden = 1024, large.heads = 16, large.intermediate = 4096;
    SmallModelOptions minilm = base;
    minilm.layers = 6, minilm.hidden = 384, minilm.heads = 12, minilm.intermediate = 1536;
    // Lengths like those of SQuAD: mean 180, most between 120 and 260.
    std::vector<int64_t> squad;
    std::lognormal_distribution<double> length(5.15, 0.3);
    for (int i = 0; i < 2000; ++i) squad.push_back(std::clamp<int64_t>(static_cast<int64_t>(length(random)), 20, 384));
    const std::vector<int64_t> of_128(4000, 128);
    for (const char* mode : {"exact", "fast"}) {
      ::setenv("WHITTLE_CUDA_INT8", mode, 1);
      const auto name = [&](const char* model) { return std::string(model) + " int8, " + mode; };
      time_encoder(device, name("MiniLM-L6").c_str(), minilm, Precision::int8, of_128, random);
      time_encoder(device, name("BERT-base").c_str(), base, Precision::int8, of_128, random);
      time_encoder(device, name("BERT-large").c_str(), large, Precision::int8, squad, random);
    }
    base.stored_s8 = false;
    time_encoder(device, "BERT-base bfloat16", base, Precision::bfloat16, of_128, random);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
