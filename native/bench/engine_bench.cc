// Times the engine on token ids: models of given shapes with made-up weights, given lengths.
//
//   whittle_engine_bench [--threads N] [--seconds S] [--cpu-time] [--precision int8|bfloat16|float32] [WORK...]
//
// A work is MODEL:SEQUENCESxLENGTH or MODEL:LENGTH,LENGTH,... or MODEL:squad, 48 sequences with lengths as
// bench/harness/work.ts has them for SQuAD; MODEL minilm-l6, minilm-l12, bert-base or bert-large. Prints one JSON
// object a line: sequences/s, and for int8 the share of what the same threads multiply from registers. --cpu-time
// counts the CPU seconds of one thread instead of wall time, for a machine that others use at the same time.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cpu/thread_pool.h"
#include "engine/executor.h"

namespace {

using namespace whittle;

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

struct Shape {
  const char* name;
  int64_t layers, hidden, heads, intermediate;
};
constexpr Shape kShapes[] = {{"minilm-l6", 6, 384, 12, 1536},
                             {"minilm-l12", 12, 384, 12, 1536},
                             {"bert-base", 12, 768, 12, 3072},
                             {"bert-large", 24, 1024, 16, 4096}};

// A model with a head of 7 labels whose parameters are windows of one temporary file: int8 matrices with scales,
// float32 vectors. Two channels of each norm are large, as those of trained models are.
class MadeUpModel {
 public:
  MadeUpModel(const Shape& shape, Precision precision) {
    spec.layers = shape.layers;
    spec.hidden = shape.hidden;
    spec.heads = shape.heads;
    spec.intermediate = shape.intermediate;
    spec.vocabulary = 8192;
    spec.positions = 512;
    spec.token_types = 2;
    spec.norm_epsilon = 1e-12f;
    spec.task = HeadTask::text_classification;
    spec.labels = 7;
    spec.precision = precision;
    write_file(spec.vocabulary * spec.hidden);
    const int64_t h = spec.hidden, inner = spec.intermediate;
    matrix("embeddings.word", spec.vocabulary, h);
    vector("embeddings.position", {spec.positions, h}, small_at_);
    vector("embeddings.tokenType", {spec.token_types, h}, small_at_);
    norm("embeddings.norm");
    for (int64_t i = 0; i < spec.layers; ++i) {
      const std::string layer = "layers." + std::to_string(i);
      for (const char* part : {".attention.query", ".attention.key", ".attention.value", ".attention.output"})
        linear(layer + part, h, h);
      norm(layer + ".attention.norm");
      linear(layer + ".intermediate", inner, h);
      linear(layer + ".output", h, inner);
      norm(layer + ".output.norm");
    }
    linear("pooler", h, h);
    linear("classifier", spec.labels, h);
  }
  ~MadeUpModel() { unlink(file_.c_str()); }

  ModelSpec spec;

 private:
  void write_file(int64_t matrix_elements) {
    char name[] = "/tmp/whittle-engine-bench-XXXXXX";
    const int descriptor = mkstemp(name);
    file_ = name;
    std::FILE* out = fdopen(descriptor, "wb");
    std::minstd_rand random(7);
    std::normal_distribution<float> normal(0, 1);
    const int64_t most = std::max(matrix_elements, int64_t{4096} * 1024);
    std::vector<int8_t> bytes(static_cast<size_t>(most));
    for (int8_t& byte : bytes) byte = static_cast<int8_t>(std::clamp(normal(random) * 40, -127.0f, 127.0f));
    std::fwrite(bytes.data(), 1, bytes.size(), out);
    int64_t at = most;
    const auto floats = [&](int64_t count, auto value) {
      std::vector<float> values(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = value(i);
      std::fwrite(values.data(), sizeof(float), values.size(), out);
      at += count * 4;
      return at - count * 4;
    };
    scales_at_ =
        floats(spec.vocabulary, [&](int64_t) { return 1 / (40 * std::sqrt(static_cast<float>(spec.hidden))); });
    small_at_ = floats(spec.positions * spec.hidden, [&](int64_t) { return normal(random) * 0.02f; });
    gamma_at_ = floats(spec.hidden, [](int64_t i) { return i == 63 || i == 223 ? 5.0f : 1.0f; });
    std::fclose(out);
  }
  StoredTensor tensor(const std::string& name, Dtype dtype, std::vector<int64_t> shape, int64_t at) const {
    StoredTensor tensor{name, file_, dtype, std::move(shape), at, 0};
    tensor.bytes = tensor.elements() * dtype_bytes(dtype);
    return tensor;
  }
  void matrix(const std::string& name, int64_t rows, int64_t columns) {
    spec.parameters[name + (name == "embeddings.word" ? "" : ".weight")] = {
        tensor(name, Dtype::i8, {rows, columns}, 0), true, tensor(name + "_scale", Dtype::f32, {rows}, scales_at_)};
  }
  void vector(const std::string& name, std::vector<int64_t> shape, int64_t at) {
    spec.parameters[name] = {tensor(name, Dtype::f32, std::move(shape), at), false, {}};
  }
  void linear(const std::string& name, int64_t n, int64_t k) {
    matrix(name, n, k);
    vector(name + ".bias", {n}, small_at_);
  }
  void norm(const std::string& name) {
    vector(name + ".weight", {spec.hidden}, gamma_at_);
    vector(name + ".bias", {spec.hidden}, small_at_);
  }

  std::string file_;
  int64_t scales_at_ = 0, small_at_ = 0, gamma_at_ = 0;
};

struct Options {
  int threads = ThreadPool::instance().default_threads();
  double seconds = 3;
  bool cpu_time = false;
  Precision precision = Precision::int8;
};

double peak_rate(const Options& options, const Clock& clock) {
  int64_t (*const peak)(int64_t) = kernels().peak_s8;
  if (!peak) return 0;
  std::vector<int64_t> operations(static_cast<size_t>(options.threads));
  const double start = clock.now();
  ThreadPool::instance().run(options.threads, options.threads,
                             [&](int64_t thread) { operations[static_cast<size_t>(thread)] = peak(300000); });
  double total = 0;
  for (const int64_t done : operations) total += static_cast<double>(done);
  return total / (clock.now() - start);
}

// Quantiles of a log-normal distribution of mean 180, cut at 384, in an order without neighbors.
std::vector<int> squad_lengths() {
  constexpr int kSequences = 48;
  std::vector<int> lengths;
  for (int i = 0; i < kSequences; ++i) {
    const double p = (i * 29 % kSequences + 0.5) / kSequences, z = std::log(p / (1 - p)) / 1.702;
    lengths.push_back(std::min(384, static_cast<int>(std::lround(168 * std::exp(0.38 * z)))));
  }
  return lengths;
}

// Empty if they are not understood.
std::vector<int> read_lengths(const std::string& text) {
  if (text == "squad") return squad_lengths();
  int sequences = 0, length = 0;
  if (std::sscanf(text.c_str(), "%dx%d", &sequences, &length) == 2)
    return std::vector<int>(static_cast<size_t>(std::max(0, sequences)), length);
  std::vector<int> lengths;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) lengths.push_back(std::atoi(word.c_str()));
  return lengths;
}

void bench(const std::string& work, const Options& options) {
  const size_t colon = work.find(':');
  const std::vector<int> lengths =
      colon == std::string::npos ? std::vector<int>() : read_lengths(work.substr(colon + 1));
  const Shape* shape = std::find_if(std::begin(kShapes), std::end(kShapes),
                                    [&](const Shape& one) { return work.substr(0, colon) == one.name; });
  if (shape == std::end(kShapes) || lengths.empty() ||
      std::any_of(lengths.begin(), lengths.end(), [](int length) { return length < 1 || length > 512; }))
    throw std::runtime_error("expected MODEL:SEQUENCESxLENGTH, MODEL:LENGTH,... or MODEL:squad but found " + work);
  const MadeUpModel made_up(*shape, options.precision);
  const PackedModel model(made_up.spec, kernels(), options.threads, [] {});
  std::vector<int32_t> ids, offsets{0};
  std::minstd_rand random(11);
  for (const int length : lengths) {
    for (int t = 0; t < length; ++t) ids.push_back(static_cast<int32_t>(random() % 8192));
    offsets.push_back(static_cast<int32_t>(ids.size()));
  }
  const std::vector<int32_t> types(ids.size());
  const double sequences = static_cast<double>(lengths.size());
  const RaggedBatch batch{ids.data(), types.data(), offsets.data(), static_cast<int64_t>(lengths.size())};
  std::vector<float> logits(lengths.size() * 7);
  Executor executor;
  const Clock clock(options.cpu_time);
  const auto run = [&] { executor.run(model, batch, Output::logits, options.threads, logits.data(), {}); };
  run();
  double best = 1e30, best_peak = 0;
  std::vector<double> all;
  for (const double start = clock.now(); clock.now() - start < options.seconds || all.size() < 3;) {
    const double begin = clock.now();
    run();
    const double seconds = clock.now() - begin;
    all.push_back(seconds);
    best = std::min(best, seconds);
    if (all.size() % 16 == 1) best_peak = std::max(best_peak, peak_rate(options, clock));
  }
  std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
  const double median = all[all.size() / 2], h = static_cast<double>(shape->hidden);
  // Multiplications and additions of products and attention; the last layer counts in full.
  double operations = 0;
  for (const int length : lengths)
    operations += 2.0 * static_cast<double>(shape->layers) * length *
                  (4 * h * h + 2 * h * static_cast<double>(shape->intermediate) + 2.0 * length * h);
  std::printf("{\"work\":\"%s\",\"unit\":\"sequences/s\",\"best\":%.1f,\"median\":%.1f", work.c_str(), sequences / best,
              sequences / median);
  if (options.precision == Precision::int8 && best_peak > 0)
    std::printf(",\"shareOfPeak\":%.3f", operations / best / best_peak);
  std::printf("}\n");
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  std::vector<std::string> works;
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    if (word == "--threads" && i + 1 < count) {
      options.threads = std::max(1, std::atoi(arguments[++i]));
    } else if (word == "--seconds" && i + 1 < count) {
      options.seconds = std::atof(arguments[++i]);
    } else if (word == "--precision" && i + 1 < count) {
      const std::string precision = arguments[++i];
      options.precision = precision == "float32"    ? Precision::float32
                          : precision == "bfloat16" ? Precision::bfloat16
                                                    : Precision::int8;
    } else if (word == "--cpu-time") {
      options.cpu_time = true;
      options.threads = 1;
    } else {
      works.push_back(word);
    }
  }
  if (works.empty())
    works = {"minilm-l6:32x128", "minilm-l6:8x512", "minilm-l6:1x128", "minilm-l6:1x16", "bert-base:8x128"};
  try {
    for (const std::string& work : works) bench(work, options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "whittle_engine_bench: %s\n", error.what());
    return 1;
  }
}
