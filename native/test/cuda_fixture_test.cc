// A real model on the CUDA executor against the CPU's results, from the folder that WHITTLE_CUDA_FIXTURE names and
// scripts/cuda-fixture.ts made.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <tuple>

#include "cpu/thread_pool.h"
#include "engine/cuda_executor.h"
#include "test/cuda_devices.h"

using namespace whittle;
using namespace whittle::test;

namespace {

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream in(line);
  for (std::string field; std::getline(in, field, '\t');) fields.push_back(field);
  return fields;
}

// dtype, file, offset, bytes, dimensions, sizes, from fields[2] on.
StoredTensor stored_tensor(const std::string& folder, const std::vector<std::string>& fields) {
  StoredTensor tensor;
  tensor.name = fields.at(1);
  CHECK(parse_dtype(fields.at(2), &tensor.dtype));
  tensor.file = folder + "/" + fields.at(3);
  tensor.offset = std::stoll(fields.at(4));
  tensor.bytes = std::stoll(fields.at(5));
  for (size_t i = 7; i < fields.size(); ++i) tensor.shape.push_back(std::stoll(fields[i]));
  return tensor;
}

ModelSpec read_spec(const std::string& folder, Precision precision) {
  ModelSpec spec;
  spec.precision = precision;
  std::map<std::string, int64_t*> sizes = {{"layers", &spec.layers},
                                           {"hidden", &spec.hidden},
                                           {"heads", &spec.heads},
                                           {"intermediate", &spec.intermediate},
                                           {"vocabulary", &spec.vocabulary},
                                           {"positions", &spec.positions},
                                           {"positionOffset", &spec.position_offset},
                                           {"tokenTypes", &spec.token_types},
                                           {"labels", &spec.labels},
                                           {"positionBiasRows", &spec.position_bias_rows}};
  std::ifstream in(folder + "/model.txt");
  if (!in) WHITTLE_FAIL(folder << "/model.txt cannot be read");
  for (std::string line; std::getline(in, line);) {
    const auto fields = split(line);
    const std::string& name = fields.at(0);
    if (sizes.count(name)) *sizes[name] = std::stoll(fields.at(1));
    if (name == "normEpsilon") spec.norm_epsilon = std::stof(fields.at(1));
    if (name == "positionBuckets")
      for (size_t i = 1; i < fields.size(); ++i) spec.position_buckets.push_back(std::stoi(fields[i]));
    if (name == "task")
      spec.task = fields.at(1) == "none"                  ? HeadTask::none
                  : fields.at(1) == "text-classification" ? HeadTask::text_classification
                                                          : HeadTask::token_classification;
    if (name == "poolerActivation")
      spec.pooler_activation = fields.at(1) == "relu"   ? PoolerActivation::relu
                               : fields.at(1) == "gelu" ? PoolerActivation::gelu
                                                        : PoolerActivation::tanh;
    if (name == "parameter") spec.parameters[fields.at(1)].tensor = stored_tensor(folder, fields);
    if (name == "scale") {
      spec.parameters[fields.at(1)].has_scale = true;
      spec.parameters[fields.at(1)].scale = stored_tensor(folder, fields);
    }
  }
  return spec;
}

template <typename T>
std::vector<T> read_numbers(const std::string& file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) WHITTLE_FAIL(file << " cannot be read");
  std::vector<T> values(static_cast<size_t>(in.tellg()) / sizeof(T));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
  return values;
}

// Smallest cosine of two matrices' rows.
double smallest_cosine(const std::vector<float>& a, const std::vector<float>& b, size_t width) {
  double smallest = 1;
  for (size_t begin = 0; begin < a.size(); begin += width) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = begin; i < begin + width; ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
    smallest = std::min(smallest, ab / std::sqrt(aa * bb));
  }
  return smallest;
}

}  // namespace

TEST(cuda_fixture, a_real_model_agrees_with_the_cpu) {
  const char* folder = std::getenv("WHITTLE_CUDA_FIXTURE");
  if (!folder) SKIP("WHITTLE_CUDA_FIXTURE names no folder that scripts/cuda-fixture.ts made");
  const auto ids = read_numbers<int32_t>(std::string(folder) + "/ids.bin");
  const auto types = read_numbers<int32_t>(std::string(folder) + "/types.bin");
  const auto offsets = read_numbers<int32_t>(std::string(folder) + "/offsets.bin");
  const RaggedBatch batch{ids.data(), types.data(), offsets.data(), static_cast<int64_t>(offsets.size()) - 1};
  // int8: the last hidden states are the CPU's bit for bit.
  for (const auto& [precision, name, least] :
       {std::tuple{Precision::float32, "float32", 0.99999}, std::tuple{Precision::int8, "int8", 0.9999999}})
    for (GpuDevice* device : cuda_devices()) {
      const ModelSpec spec = read_spec(folder, precision);
      CudaEngine engine({device}, spec, kernels(), ThreadPool::instance().default_threads(), [] {});
      const auto compare = [&](Output output, const char* file, size_t width) {
        const auto expected = read_numbers<float>(std::string(folder) + "/" + file + "-" + name + ".bin");
        std::vector<float> found(expected.size());
        const OutputShape shape = engine.output_shape(batch.tokens(), batch.sequences, output);
        CHECK_EQUAL(shape.rows * shape.columns, static_cast<int64_t>(expected.size()));
        engine.run(batch, output, found.data(), {});
        const double cosine = smallest_cosine(found, expected, width);
        std::printf("NOTE: %s, %s, kernels %d: smallest cosine to the CPU's %.6f\n", name, file,
                    device->info().capability, cosine);
        CHECK(cosine >= least);
        return std::pair{found, expected};
      };
      const auto [states, states_of_cpu] = compare(Output::hidden, "hidden", static_cast<size_t>(spec.hidden));
      if (precision == Precision::int8)
        for (size_t i = 0; i < states.size(); ++i) CHECK_EQUAL(states[i], states_of_cpu[i]);
      if (spec.task == HeadTask::none) continue;
      const size_t labels = static_cast<size_t>(spec.labels);
      const auto [found, expected] = compare(Output::logits, "logits", labels);
      // Of float32 factors as two bf16 each, in the head.
      for (size_t i = 0; i < found.size(); ++i) CHECK_NEAR(found[i], expected[i], 1e-4);
      for (size_t at = 0; at < found.size(); at += labels) {
        const auto label = [&](const std::vector<float>& logits) {
          return std::max_element(logits.begin() + static_cast<int64_t>(at),
                                  logits.begin() + static_cast<int64_t>(at + labels)) -
                 logits.begin();
        };
        CHECK_EQUAL(label(found), label(expected));
      }
    }
}
