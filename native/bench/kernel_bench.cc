// Times the linear layer, the general product and attention against what the same threads multiply from registers.
//
//   whittle_kernel_bench [--threads N] [--seconds S] [--cpu-time] [FILTER...]
//
// Prints one JSON object a line: { "work", "unit", "value", "shareOfPeak"? }. A filter is a part of the work's name.
// --cpu-time counts the CPU seconds of one thread instead of wall time, for a machine that others use at the same time.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "cpu/thread_pool.h"
#include "ops/attention_bytes.h"
#include "ops/gemm.h"
#include "ops/linear_bytes.h"

namespace {

using namespace whittle;

// Seconds on the wall, or of CPU time of the calling thread.
class Clock {
 public:
  explicit Clock(bool cpu_time) : clock_(cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC) {}
  double now() const {
    timespec time;
    clock_gettime(clock_, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }

 private:
  clockid_t clock_;
};

class Bench {
 public:
  Bench(int threads, double seconds, bool cpu_time, std::vector<std::string> filters)
      : context_{kernels(), ThreadPool::instance(), threads, arena_},
        clock_(cpu_time),
        seconds_(seconds),
        filters_(std::move(filters)) {}

  const Context& context() const { return context_; }

  bool wanted(const std::string& work) const {
    return filters_.empty() || std::any_of(filters_.begin(), filters_.end(), [&](const std::string& filter) {
             return work.find(filter) != std::string::npos;
           });
  }

  // Takes turns with the peak loop, so that a slow moment of the machine hits both.
  template <typename Body>
  void product(const std::string& work, double operations, int64_t (*peak)(int64_t), Body body) {
    std::vector<double> rates, peaks;
    body();
    double start = clock_.now();
    while (rates.size() < 5 || clock_.now() - start < seconds_) {
      double turn = clock_.now();
      int64_t calls = 0;
      for (int64_t batch = 1; clock_.now() - turn < seconds_ / 50; batch *= 2) {
        for (int64_t call = 0; call < batch; ++call) body();
        calls += batch;
      }
      rates.push_back(operations * static_cast<double>(calls) / (clock_.now() - turn));
      if (peak) peaks.push_back(peak_rate(peak));
    }
    // The best of each: whatever disturbs the machine only slows down.
    double rate = *std::max_element(rates.begin(), rates.end());
    if (peak) {
      double best_peak = *std::max_element(peaks.begin(), peaks.end());
      std::printf("{\"work\":\"%s\",\"unit\":\"Gop/s\",\"value\":%.1f,\"shareOfPeak\":%.3f}\n", work.c_str(),
                  rate * 1e-9, rate / best_peak);
    } else {
      std::printf("{\"work\":\"%s\",\"unit\":\"Gop/s\",\"value\":%.1f}\n", work.c_str(), rate * 1e-9);
    }
    std::fflush(stdout);
  }

 private:
  double peak_rate(int64_t (*peak)(int64_t)) {
    constexpr int64_t kRounds = 100000;
    std::vector<int64_t> operations(static_cast<size_t>(context_.threads));
    double start = clock_.now();
    context_.pool.run(context_.threads, context_.threads,
                      [&](int64_t thread) { operations[static_cast<size_t>(thread)] = peak(kRounds); });
    double seconds = clock_.now() - start, total = 0;
    for (int64_t done : operations) total += static_cast<double>(done);
    return total / seconds;
  }

  Arena arena_;
  Context context_;
  Clock clock_;
  double seconds_;
  std::vector<std::string> filters_;
};

std::vector<float> random_floats(int64_t count) {
  static std::minstd_rand random(7);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = uniform(random);
  return values;
}

struct Kind {
  const char* name;
  Precision precision;
  int64_t (*peak)(int64_t);
};

void bench_linear(Bench& bench, const Kind& kind) {
  // Query-key-value, output, intermediate and back, of MiniLM (384) and BERT-base (768).
  const int64_t shapes[][2] = {{1152, 384}, {384, 384},  {1536, 384}, {384, 1536},
                               {2304, 768}, {3072, 768}, {768, 3072}};
  for (auto [n, k] : shapes) {
    for (int64_t m : {1, 16, 128, 1024, 4096}) {
      std::string work = std::string("linear ") + kind.name + " m=" + std::to_string(m) + " n=" + std::to_string(n) +
                         " k=" + std::to_string(k);
      if (!bench.wanted(work)) continue;
      auto x = random_floats(m * k), w = random_floats(n * k), bias = random_floats(n);
      std::vector<float> y(static_cast<size_t>(m * n));
      PackedWeight weight = pack_weight(w.data(), n, k, kind.precision, bench.context());
      Linear linear_layer{x.data(), k, m, &weight, bias.data(), Activation::none, nullptr, 0, y.data(), n};
      bench.product(work, 2.0 * static_cast<double>(m * n * k), kind.peak,
                    [&] { linear(linear_layer, bench.context()); });
    }
  }
}

// What the engine's int8 layers are made of: bytes in, float32 or heads of bytes out, with all of the epilogue.
// Several matrices in turns, more than a second-level cache holds, as in a model.
void bench_linear_bytes(Bench& bench) {
  constexpr int64_t kWeightBytes = 16 << 20;
  const KernelTable& table = bench.context().kernels;
  struct Shape {
    const char* layer;
    int64_t n, k;
  };
  for (const Shape& s : {Shape{"query-key-value", 1152, 384},
                         {"intermediate", 1536, 384},
                         {"output", 384, 1536},
                         {"query-key-value", 2304, 768},
                         {"intermediate", 3072, 768},
                         {"output", 768, 3072}}) {
    for (const int64_t m : {16, 48, 128, 192}) {
      const std::string work = std::string("layer int8 ") + s.layer + " m=" + std::to_string(m) +
                               " n=" + std::to_string(s.n) + " k=" + std::to_string(s.k);
      if (!bench.wanted(work)) continue;
      const bool is_output = s.k > s.n, is_heads = s.layer[0] == 'q';
      const auto x = random_floats(m * s.k), w = random_floats(s.n * s.k), bias = random_floats(s.n),
                 residual = random_floats(m * s.n);
      Arena arena;
      std::vector<PackedWeight> weights;
      for (int64_t bytes = 0; bytes < kWeightBytes; bytes += s.n * s.k)
        weights.push_back(pack_weight(w.data(), s.n, s.k, Precision::int8, bench.context(), is_output ? 0 : 2));
      const ByteRows rows = ByteRows::take(arena, m, s.k, is_output, !is_output);
      if (is_output) {
        table.quantize_gelu_u8(x.data(), s.k, m, s.k, rows.data, rows.stride, rows.scales, rows.offsets);
      } else {
        table.quantize_rows_u8(x.data(), s.k, m, s.k, 2, rows.data, rows.stride, rows.scales, rows.outliers);
      }
      const int64_t head_size = s.k == 384 ? 32 : 64, heads_stride = s.n + 64;
      const HeadRows heads = {arena.take<int8_t>(m * heads_stride), heads_stride,
                              arena.take<float>(m * s.n / head_size), m, head_size, s.n / 3};
      std::vector<float> y(static_cast<size_t>(m * s.n));
      size_t turn = 0;
      bench.product(work, 2.0 * static_cast<double>(m * s.n * s.k), table.peak_s8, [&] {
        const LinearBytes g = {rows, m, &weights[turn++ % weights.size()], bias.data(), 0, s.n};
        if (is_heads) {
          linear_bytes(g, heads, table, arena);
        } else {
          linear_bytes(g, is_output ? Activation::none : Activation::gelu, is_output ? residual.data() : nullptr, s.n,
                       y.data(), s.n, table, arena);
        }
      });
    }
  }
}

void bench_matmul(Bench& bench, const Kind& kind) {
  struct Shape {
    const char* form;
    int64_t m, n, k;
  };
  // Forward (NT), gradient of the input (NN), gradient of the weight (TN), and the products of one attention head.
  const Shape shapes[] = {{"NT", 2048, 1536, 384}, {"NN", 2048, 384, 1536}, {"TN", 1536, 384, 2048},
                          {"NT", 512, 768, 768},   {"NN", 2048, 768, 3072}, {"TN", 3072, 768, 4096},
                          {"NT", 128, 128, 32},    {"NN", 128, 32, 128},    {"NT", 20, 20, 32},
                          {"NN", 20, 32, 20},      {"TN", 20, 32, 20}};
  for (const Shape& s : shapes) {
    std::string work = std::string("matmul ") + kind.name + " " + s.form + " m=" + std::to_string(s.m) +
                       " n=" + std::to_string(s.n) + " k=" + std::to_string(s.k);
    if (!bench.wanted(work)) continue;
    auto a = random_floats(s.m * s.k), b = random_floats(s.k * s.n);
    std::vector<float> c(static_cast<size_t>(s.m * s.n));
    bool a_transposed = s.form[0] == 'T', b_transposed = s.form[1] == 'T';
    Matmul product{s.m,
                   s.n,
                   s.k,
                   a.data(),
                   a_transposed ? 1 : s.k,
                   a_transposed ? s.m : 1,
                   b.data(),
                   b_transposed ? 1 : s.n,
                   b_transposed ? s.k : 1,
                   c.data(),
                   s.n,
                   false};
    bench.product(work, 2.0 * static_cast<double>(s.m * s.n * s.k), kind.peak,
                  [&] { matmul(product, kind.precision, bench.context()); });
  }
}

// q, k and v of 12 heads of at least 256 tokens, alone and with their quantization from float32.
void bench_attention(Bench& bench, int64_t head_size, int64_t length) {
  constexpr int64_t kHeads = 12;
  const KernelTable& table = bench.context().kernels;
  const int64_t sequences = std::max<int64_t>(1, 256 / length), tokens = sequences * length,
                hidden = kHeads * head_size, width = 3 * hidden;
  std::vector<int32_t> offsets;
  for (int64_t s = 0; s <= sequences; ++s) offsets.push_back(static_cast<int32_t>(s * length));
  const auto x = random_floats(tokens * width);
  std::vector<float> out(static_cast<size_t>(tokens * hidden)), scales(static_cast<size_t>(3 * kHeads * tokens));
  std::vector<int8_t> bytes(static_cast<size_t>(tokens * width + kPadK));
  const AttentionBytes in_bytes{bytes.data(),
                                bytes.data() + hidden,
                                bytes.data() + 2 * hidden,
                                width,
                                scales.data(),
                                scales.data() + kHeads * tokens,
                                scales.data() + 2 * kHeads * tokens,
                                tokens,
                                offsets.data(),
                                sequences,
                                kHeads,
                                head_size,
                                out.data(),
                                hidden,
                                {nullptr, 0},
                                false};
  const auto quantize = [&] {
    for (int part = 0; part < 3; ++part)
      table.quantize_heads_s8(x.data() + part * hidden, width, tokens, kHeads, head_size, part == 0 ? 0x80 : 0,
                              bytes.data() + part * hidden, width, scales.data() + part * kHeads * tokens, tokens);
  };
  quantize();
  const double operations = 4.0 * static_cast<double>(tokens * length * hidden);
  const std::string shape = " d=" + std::to_string(head_size) + " length=" + std::to_string(length);
  const auto measure = [&](const std::string& work, const auto& body) {
    if (bench.wanted(work + shape)) bench.product(work + shape, operations, table.peak_s8, body);
  };
  measure("attention int8", [&] { attention_bytes(in_bytes, bench.context()); });
  measure("attention with rounding int8", [&] {
    quantize();
    attention_bytes(in_bytes, bench.context());
  });
}

}  // namespace

int main(int count, char** arguments) {
  int threads = ThreadPool::instance().default_threads();
  double seconds = 0.5;
  bool cpu_time = false;
  std::vector<std::string> filters;
  for (int i = 1; i < count; ++i) {
    std::string word = arguments[i];
    if (word == "--threads" && i + 1 < count) {
      threads = std::max(1, std::atoi(arguments[++i]));
    } else if (word == "--seconds" && i + 1 < count) {
      seconds = std::atof(arguments[++i]);
    } else if (word == "--cpu-time") {
      cpu_time = true;
      threads = 1;
    } else {
      filters.push_back(word);
    }
  }
  try {
    Bench bench(threads, seconds, cpu_time, filters);
    const KernelTable& table = kernels();
    std::fprintf(stderr, "ISA %s, %d threads\n", isa_name(table.isa), threads);
    std::vector<Kind> kinds = {{"float32", Precision::float32, table.peak_f32}};
    if (table.native_bf16) kinds.push_back({"bfloat16", Precision::bfloat16, table.peak_bf16});
    for (const Kind& kind : kinds) bench_matmul(bench, kind);
    kinds.push_back({"int8", Precision::int8, table.peak_s8});
    for (const Kind& kind : kinds) bench_linear(bench, kind);
    bench_linear_bytes(bench);
    for (const int64_t head_size : {32, 64})
      for (const int64_t length : {16, 32, 128, 180, 512}) bench_attention(bench, head_size, length);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "whittle_kernel_bench: %s\n", error.what());
    return 1;
  }
}
