// What the parts of the CUDA benchmark share: options, how long work takes, and the figures.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "bench/cuda/gpu_clock.h"
#include "test/cuda_devices.h"

namespace whittle::bench {

struct Options {
  std::vector<std::string> parts;  // empty: all
  double budget = 1e9;             // seconds; no further work is begun after them
  bool quick = false;              // small sizes and few rounds, to try the benchmark
  std::string json;                // file, or empty

  bool wants(const char* part) const {
    return parts.empty() || std::find(parts.begin(), parts.end(), part) != parts.end();
  }
  int rounds() const { return quick ? 3 : 31; }
};

// A figure and what belongs to it, as it stands in the JSON.
struct Figure {
  std::string part, work, unit;
  double value;
  std::vector<std::pair<std::string, double>> more = {};
};

class Report {
 public:
  Report(const Options& options, const GpuInfo& gpu, const GpuFacts& facts)
      : options_(options), gpu_(gpu), facts_(facts) {}

  // Prints the figure, and writes the JSON anew: whoever ends the program has what was measured.
  void add(Figure figure);
  // Whether there is time for `work`; if not, that is noted.
  bool has_time(const std::string& work);
  // Notes what is not as it must be: the program then fails in the end.
  void fail(const std::string& what);
  bool failed() const { return !failures_.empty(); }
  void write_json() const;

  // Ceilings measured on this GPU, 0 if they were not: bytes read and written a second, operations a second.
  double copy_bytes = 0, int8_peak = 0;

 private:
  const Options& options_;
  const GpuInfo& gpu_;
  const GpuFacts& facts_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::vector<Figure> figures_;
  std::vector<std::string> left_out_, failures_;
};

// Dense int8 operations a second by NVIDIA's data sheets, at the boost clock; 0 if the GPU is none of those known here.
double data_sheet_int8(const std::string& gpu);

// Microseconds of a call of `work(set)`: the median over launches of a graph that holds a few calls, each on the next
// of `sets` sets of arrays, so that the second-level cache does not hold what a call reads.
double median_us(test::CudaBench& bench, const Options& options, int sets, const std::function<void(int)>& work);

// So many sets of arrays of `bytes` that together they are several times the second-level cache.
int sets_of(int64_t bytes, const GpuFacts& facts);

// Random values of which only the first are drawn: the rest repeats them, a prime number at a time.
std::vector<uint8_t> random_bytes(std::mt19937_64& random, int64_t count);
std::vector<float> many_floats(std::mt19937_64& random, int64_t count, float scale);

// Lengths like those of SQuAD v1.1 with BERT's tokenizer: about log-normal, mean 180, at most 384. The quantiles, in an
// order that is not theirs; bench/harness/work.ts and bench/gpu/pytorch_gpu.py have the same ones.
std::vector<int64_t> squad_lengths(int64_t sequences);

void time_ceilings(GpuDevice& device, const GpuFacts& facts, const Options& options, Report& report);
void time_products(GpuDevice& device, const GpuFacts& facts, const Options& options, Report& report);
void time_attention(GpuDevice& device, const GpuFacts& facts, const Options& options, Report& report);
void time_rows(GpuDevice& device, const GpuFacts& facts, const Options& options, Report& report);
void time_compression(GpuDevice& device, const Options& options, Report& report);
// Also holds the last hidden states of a few sequences against the CPU's engine.
void time_encoders(GpuDevice& device, const Options& options, Report& report);

}  // namespace whittle::bench
