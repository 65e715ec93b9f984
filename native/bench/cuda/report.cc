#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "bench/cuda/bench.h"
#include "cpu/error.h"
#include "test/buffers.h"

namespace whittle::bench {

namespace {

// Dense, at the boost clock, as NVIDIA's data sheets have it; the first whose name is part of the GPU's counts.
struct Sheet {
  const char* name;
  double int8;
};
constexpr Sheet kSheets[] = {{"H100 PCIe", 1513e12}, {"H100 NVL", 1671e12}, {"H100", 1979e12}, {"H200 NVL", 1671e12},
                             {"H200", 1979e12},      {"A100", 624e12},      {"L40S", 733e12},  {"RTX 4090", 660.6e12}};

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) result += c;
  }
  return result + "\"";
}
std::string number(double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, std::isfinite(value) ? "%.6g" : "null", value);
  return digits;
}
std::string list(const std::vector<std::string>& texts) {
  std::string result = "[";
  for (const std::string& text : texts) result += (result.size() > 1 ? ", " : "") + quoted(text);
  return result + "]";
}

constexpr size_t kDrawn = 100003;

template <typename T>
void repeat(std::vector<T>& values, size_t count) {
  const size_t drawn = values.size();
  values.resize(count);
  for (size_t at = drawn; at < count; at += drawn)
    std::memcpy(&values[at], values.data(), std::min(drawn, count - at) * sizeof(T));
}

}  // namespace

double data_sheet_int8(const std::string& gpu) {
  for (const auto& [name, int8] : kSheets)
    if (gpu.find(name) != std::string::npos) return int8;
  return 0;
}

void Report::add(Figure figure) {
  std::printf("%-52s %12.5g %s", figure.work.c_str(), figure.value, figure.unit.c_str());
  for (const auto& [name, value] : figure.more) std::printf("  %s %.4g", name.c_str(), value);
  std::printf("\n");
  std::fflush(stdout);
  figures_.push_back(std::move(figure));
  write_json();
}

bool Report::has_time(const std::string& work) {
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin_;
  if (spent.count() < options_.budget) return true;
  std::printf("LEFT OUT, no time: %s\n", work.c_str());
  left_out_.push_back(work);
  return false;
}

void Report::fail(const std::string& what) {
  std::printf("FAILED: %s\n", what.c_str());
  std::fflush(stdout);
  failures_.push_back(what);
  write_json();
}

void Report::write_json() const {
  const std::string& file = options_.json;
  if (file.empty()) return;
  std::FILE* out = std::fopen(file.c_str(), "w");
  if (!out) throw Error("IO", file + " cannot be written");
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::tm utc;
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  const int cuda = facts_.cuda_version;
  const std::string version = std::to_string(cuda / 1000) + "." + std::to_string(cuda % 1000 / 10);
  std::fprintf(out, "{\n  \"device\": {\"name\": %s, \"capability\": %d, \"multiprocessors\": %d, ",
               quoted(gpu_.name).c_str(), gpu_.capability, gpu_.multiprocessors);
  std::fprintf(out, "\"memoryBytes\": %lld, \"l2Bytes\": %lld, \"driver\": %s, \"cuda\": %s},\n",
               static_cast<long long>(gpu_.memory_bytes), static_cast<long long>(facts_.l2_bytes),
               quoted(facts_.driver).c_str(), quoted(version).c_str());
  std::fprintf(out, "  \"date\": %s,\n", quoted(date).c_str());
  std::fprintf(out, "  \"ceilings\": {\"copyBytes\": %s, \"int8Measured\": %s, \"int8DataSheet\": %s},\n",
               number(copy_bytes).c_str(), number(int8_peak).c_str(), number(data_sheet_int8(gpu_.name)).c_str());
  std::fprintf(out, "  \"leftOut\": %s,\n  \"failures\": %s,\n  \"figures\": [", list(left_out_).c_str(),
               list(failures_).c_str());
  const char* separator = "\n";
  for (const Figure& figure : figures_) {
    std::fprintf(out, "%s    {\"part\": %s, \"work\": %s, \"unit\": %s, \"value\": %s", separator,
                 quoted(figure.part).c_str(), quoted(figure.work).c_str(), quoted(figure.unit).c_str(),
                 number(figure.value).c_str());
    for (const auto& [name, value] : figure.more)
      std::fprintf(out, ", %s: %s", quoted(name).c_str(), number(value).c_str());
    std::fprintf(out, "}");
    separator = ",\n";
  }
  std::fprintf(out, "\n  ]\n}\n");
  if (std::fclose(out) != 0) throw Error("IO", file + " cannot be written");
}

double median_us(test::CudaBench& bench, const Options& options, int sets, const std::function<void(int)>& work) {
  // A few calls a launch, so that the gap before the first weighs little.
  const int calls = options.quick ? sets : (8 + sets - 1) / sets * sets;
  const GpuGraph graph = bench.device().capture(bench.stream(), [&] {
    for (int call = 0; call < calls; ++call) work(call % sets);
  });
  // Clocks that went down while the host prepared this come up again.
  const double warm_up_us = options.quick ? 0 : 2e5;
  for (double spent = 0; spent <= warm_up_us;) spent += 1 + launch_us(bench.device(), graph, bench.stream());
  std::vector<double> times;
  for (int i = 0; i < options.rounds(); ++i)
    times.push_back(launch_us(bench.device(), graph, bench.stream()) / calls);
  bench.device().destroy(graph);
  std::nth_element(times.begin(), times.begin() + options.rounds() / 2, times.end());
  return times[static_cast<size_t>(options.rounds() / 2)];
}

int sets_of(int64_t bytes, const GpuFacts& facts) {
  return static_cast<int>(std::clamp<int64_t>((4 * facts.l2_bytes + bytes - 1) / std::max<int64_t>(bytes, 1), 1, 8));
}

std::vector<uint8_t> random_bytes(std::mt19937_64& random, int64_t count) {
  std::vector<uint8_t> bytes(std::min(kDrawn, static_cast<size_t>(count)));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() >> 56);
  repeat(bytes, static_cast<size_t>(count));
  return bytes;
}

std::vector<float> many_floats(std::mt19937_64& random, int64_t count, float scale) {
  auto values = test::random_floats(random, std::min(static_cast<int64_t>(kDrawn), count), scale);
  repeat(values, static_cast<size_t>(count));
  return values;
}

std::vector<int64_t> squad_lengths(int64_t sequences) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < sequences; ++i) {
    // In steps that share no factor with the count, so that neighbors have no neighboring lengths.
    const double p = (static_cast<double>(i * 29 % sequences) + 0.5) / static_cast<double>(sequences);
    const double z = std::log(p / (1 - p)) / 1.702;
    lengths.push_back(std::min<int64_t>(384, std::llround(168 * std::exp(0.38 * z))));
  }
  return lengths;
}

}  // namespace whittle::bench
