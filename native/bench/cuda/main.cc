// Times of the CUDA kernels and of whole encoders on the first GPU of the newest kind: medians over launches of graphs,
// and over runs of the engine.
//
//   whittle_cuda_bench [--parts ceilings,products,attention,rows,compression,encoders] [--json FILE]
//                      [--budget SECONDS] [--quick]
//
// Work that is not begun within the budget is left out and named. Exit code 1 if anything failed, among it int8
// encoders that do not give the CPU's bits.
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "bench/cuda/bench.h"
#include "engine/gpu_backend.h"

using namespace whittle;
using namespace whittle::bench;

namespace {

const std::vector<std::string> kParts = {"ceilings", "products", "attention", "rows", "compression", "encoders"};

// The words of a list with commas; throws for one that is not among `known`.
std::vector<std::string> words(const std::string& option, const std::string& text,
                               const std::vector<std::string>& known) {
  std::vector<std::string> result;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) {
    if (std::find(known.begin(), known.end(), word) == known.end()) {
      std::string all;
      for (const std::string& one : known) all += (all.empty() ? "" : ", ") + one;
      throw Error("BAD_OPTION", option + ": expected some of " + all + " but found \"" + word + "\"");
    }
    result.push_back(word);
  }
  return result;
}

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name == "--quick") {
      options.quick = true;
      continue;
    }
    if (i + 1 == count) throw Error("BAD_OPTION", name + ": expected a value behind it, or no such option");
    const std::string value = arguments[++i];
    if (name == "--parts")
      options.parts = words(name, value, kParts);
    else if (name == "--json")
      options.json = value;
    else if (name == "--budget")
      options.budget = std::atof(value.c_str());
    else
      throw Error("BAD_OPTION", "Expected --parts, --json, --budget or --quick but found " + name);
  }
  return options;
}

// Of the newest kind, of which the shim has several.
GpuDevice& first_gpu() {
  const auto& devices = test::cuda_devices();
  if (devices.empty()) throw Error("UNSUPPORTED", "Expected a GPU but " + gpu_support().problem);
  return **std::max_element(devices.begin(), devices.end(), [](const GpuDevice* a, const GpuDevice* b) {
    return a->info().capability < b->info().capability;
  });
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const Options options = parse(count, arguments);
    GpuDevice& device = first_gpu();
    const GpuFacts facts = gpu_facts(device.info());
    std::printf("%s, sm_%d, %d multiprocessors, driver %s\n", device.info().name.c_str(), device.info().capability,
                device.info().multiprocessors, facts.driver.empty() ? "unknown" : facts.driver.c_str());
    Report report(options, device.info(), facts);
    const auto part = [&](const char* name, const std::function<void()>& run) {
      if (!options.wants(name)) return;
      // The parts that follow may still work, unless the GPU was lost.
      try {
        run();
      } catch (const std::exception& error) {
        report.fail(std::string(name) + ": " + error.what());
      }
    };
    part("ceilings", [&] { time_ceilings(device, facts, options, report); });
    part("products", [&] { time_products(device, facts, options, report); });
    part("encoders", [&] { time_encoders(device, options, report); });
    part("attention", [&] { time_attention(device, facts, options, report); });
    part("rows", [&] { time_rows(device, facts, options, report); });
    part("compression", [&] { time_compression(device, options, report); });
    report.write_json();
    return report.failed() ? 1 : 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
