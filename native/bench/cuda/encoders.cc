// Whole encoders with random weights: sequences/s of the engine, by the host's clock, ids in and logits out.
#include <cmath>
#include <memory>

#include "bench/cuda/bench.h"
#include "cpu/thread_pool.h"
#include "engine/cuda_executor.h"
#include "test/forwarding_device.h"
#include "test/small_model.h"

namespace whittle::bench {

using test::SmallBatch;
using test::SmallModel;
using test::SmallModelOptions;

namespace {

struct Shape {
  const char* name;
  int64_t layers, hidden, heads, intermediate;
};
constexpr Shape kMiniLm = {"MiniLM-L6", 6, 384, 12, 1536}, kBase = {"BERT-base", 12, 768, 12, 3072},
                kLarge = {"BERT-large", 24, 1024, 16, 4096};

struct Work {
  Shape shape;
  const char* lengths_name;
  std::vector<int64_t> lengths;
  Precision precision;
  bool separate_gelu = false;
};

// The same GPU, where GELU and its quantization are a kernel of their own as they are where one with the product before
// them is not possible.
class SeparateGelu : public test::ForwardingDevice {
 public:
  explicit SeparateGelu(GpuDevice& device) : ForwardingDevice(device), kernels_(device.kernels()) {
    for (int& blocks : kernels_.gelu_blocks) blocks = 0;
  }
  const cuda::KernelTable& kernels() const override { return kernels_; }

 private:
  cuda::KernelTable kernels_;
};

SmallModelOptions model_options(const Shape& shape, Precision precision, bool quick) {
  SmallModelOptions options;
  options.layers = quick ? 1 : shape.layers;
  options.hidden = quick ? shape.hidden / shape.heads * 2 : shape.hidden;
  options.heads = quick ? 2 : shape.heads;
  options.intermediate = quick ? 128 : shape.intermediate;
  options.vocabulary = quick ? 100 : 30522;
  options.positions = 512;
  options.labels = 2;
  options.stored_s8 = precision == Precision::int8;
  return options;
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Operations of the encoder's products.
double operations(const Shape& shape, const std::vector<int64_t>& lengths) {
  double sum = 0;
  for (const int64_t length : lengths)
    sum += static_cast<double>(length) * 2 *
               static_cast<double>(4 * shape.hidden * shape.hidden + 2 * shape.hidden * shape.intermediate) +
           4.0 * static_cast<double>(length * length * shape.hidden);
  return sum * static_cast<double>(shape.layers);
}

// Last hidden states of some sequences on the GPU and on the CPU, which must be the same bits: of sizes that the tests
// with their small models do not have.
void compare_with_cpu(CudaEngine& engine, const SmallModel& model, const std::string& work, bool quick,
                      Report& report) {
  std::mt19937_64 random(6);
  const SmallBatch batch(quick ? std::vector<int64_t>{3} : std::vector<int64_t>{128, 31, 384, 1}, model.spec, random);
  const int threads = ThreadPool::instance().default_threads();
  const size_t count = static_cast<size_t>(batch.batch().tokens() * model.spec.hidden);
  std::vector<float> found(count), expected(count);
  engine.run(batch.batch(), Output::hidden, found.data(), {});
  // Where the CPU has AMX, its other kernels say who is wrong if there is a difference.
  std::vector<const KernelTable*> tables = {&kernels()};
  if (kernels().isa == Isa::amx) tables.push_back(kernels_for(Isa::vnni));
  for (const KernelTable* table : tables) {
    const PackedModel packed(model.spec, *table, threads, [] {});
    Executor().run(packed, batch.batch(), Output::hidden, threads, expected.data(), {});
    size_t different = 0;
    for (size_t i = 0; i < count; ++i) different += found[i] != expected[i];  // NaN differs too
    const std::string of = "of " + std::to_string(count), cpu = std::string(" the CPU's, ") + isa_name(table->isa);
    report.add({"agreement", work + ": numbers that differ from" + cpu, of, static_cast<double>(different), {}});
    if (different > 0)
      report.fail(work + ": " + std::to_string(different) + " " + of + " numbers differ from" + cpu);
  }
}

void time_engine(GpuDevice& gpu, const Work& work, const Options& options, Report& report) {
  const bool int8 = work.precision == Precision::int8;
  const std::string name = std::string(work.shape.name) + (int8 ? " int8, " : " bfloat16, ") + work.lengths_name +
                           (work.separate_gelu ? ", GELU by itself" : "");
  const SmallModelOptions dimensions = model_options(work.shape, work.precision, options.quick);
  if (work.separate_gelu && !cuda::gelu_grid(gpu.kernels(), dimensions.intermediate, dimensions.hidden).possible())
    return;
  if (!report.has_time(name)) return;
  SeparateGelu separate(gpu);
  GpuDevice& device = work.separate_gelu ? static_cast<GpuDevice&>(separate) : gpu;
  std::mt19937_64 random(5);
  const SmallModel model(dimensions, work.precision, random);
  std::unique_ptr<CudaEngine> engine;
  const double load = seconds_of([&] {
    engine = std::make_unique<CudaEngine>(std::vector<GpuDevice*>{&device}, model.spec, kernels(),
                                          ThreadPool::instance().default_threads(), [] {});
  });
  const SmallBatch batch(work.lengths, model.spec, random);
  std::vector<float> out(work.lengths.size() * static_cast<size_t>(model.spec.labels), NAN);
  std::vector<double> seconds;
  const int warm_up = options.quick ? 0 : 3, runs = options.quick ? 1 : 9;
  for (int i = 0; i < warm_up + runs; ++i) {
    const double once = seconds_of([&] { engine->run(batch.batch(), Output::logits, out.data(), {}); });
    if (i >= warm_up) seconds.push_back(once);
  }
  std::sort(seconds.begin(), seconds.end());
  for (const float value : out)
    if (!std::isfinite(value)) return report.fail(name + ": gave a number that is not finite");
  const double median = seconds[seconds.size() / 2], count = static_cast<double>(work.lengths.size());
  Figure figure{"encoders",
                name,
                "sequences/s",
                count / median,
                {{"sequences", count},
                 {"tokens", static_cast<double>(batch.batch().tokens())},
                 {"slowest", count / seconds.back()},
                 {"fastest", count / seconds.front()},
                 {"loadSeconds", load},
                 {"TOP/s", operations(work.shape, work.lengths) / median / 1e12}}};
  report.add(figure);
  if (int8) compare_with_cpu(*engine, model, name, options.quick, report);
}

}  // namespace

void time_encoders(GpuDevice& device, const Options& options, Report& report) {
  const auto some = [&](std::vector<int64_t> lengths) {
    if (options.quick) lengths = {2, 5};
    return lengths;
  };
  // The ones that matter most come first.
  const std::vector<Work> works = {
      {kLarge, "lengths like SQuAD's", some(squad_lengths(2000)), Precision::int8},
      {kBase, "128 tokens", some(std::vector<int64_t>(4096, 128)), Precision::int8},
      {kMiniLm, "128 tokens", some(std::vector<int64_t>(8192, 128)), Precision::int8},
      {kBase, "128 tokens", some(std::vector<int64_t>(4096, 128)), Precision::bfloat16},
      // What the product with GELU and quantization saves of the whole, where it is possible.
      {kLarge, "lengths like SQuAD's", some(squad_lengths(2000)), Precision::int8, true}};
  for (const Work& work : works) time_engine(device, work, options, report);
}

}  // namespace whittle::bench
