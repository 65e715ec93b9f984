// The CUDA executor against an encoder in plain C++, on the same weights: on the shim's devices here, on a GPU in the
// CUDA build.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>

#include "cpu/thread_pool.h"
#include "engine/cuda_executor.h"
#include "engine/gpu_backend.h"
#include "test/cuda_devices.h"
#include "test/forwarding_device.h"
#include "test/reference_encoder.h"
#include "test/small_model.h"

using namespace whittle;
using namespace whittle::test;

namespace {

const std::function<void()> kNever = [] {};

const std::vector<int64_t> kLengths = {1, 17, 64, 3, 65, 2, 31};

std::vector<float> run_engine(CudaEngine& engine, const SmallBatch& batch, Output output,
                              const RunControl& control = {}) {
  const OutputShape shape = engine.output_shape(batch.batch().tokens(), batch.batch().sequences, output);
  std::vector<float> out(static_cast<size_t>(shape.rows * shape.columns), NAN);
  engine.run(batch.batch(), output, out.data(), control);
  return out;
}

CudaEngine make_engine(const SmallModel& model, const std::vector<GpuDevice*>& devices) {
  return CudaEngine(devices, model.spec, *kernels_for(Isa::ref), 1, kNever);
}

// Root of the mean square of the difference over that of what is expected.
double relative_error(const std::vector<float>& actual, const std::vector<float>& expected) {
  CHECK_EQUAL(actual.size(), expected.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    CHECK(std::isfinite(actual[i]));
    difference += std::pow(double{actual[i]} - expected[i], 2);
    size += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(difference / size);
}

// What the CPU's engine loses by bfloat16 on this model.
double bf16_error_of_cpu(const SmallModel& model, const SmallBatch& batch, Output output,
                         const std::vector<float>& expected) {
  if (!kernels().native_bf16) return 0;
  const PackedModel packed(model.spec, kernels(), 1, kNever);
  std::vector<float> out(expected.size());
  Executor().run(packed, batch.batch(), output, 1, out.data(), {});
  return relative_error(out, expected);
}

// The CPU's engine, on kernels/ref.
std::vector<float> run_cpu(const SmallModel& model, const SmallBatch& batch, Output output, size_t size) {
  const PackedModel packed(model.spec, *kernels_for(Isa::ref), 1, kNever);
  std::vector<float> out(size);
  Executor().run(packed, batch.batch(), output, 1, out.data(), {});
  return out;
}

// int8: the last hidden states are the CPU's bit for bit; what pooler and classifier make of them in float32 is not,
// whose sums have another order.
void compare_int8(const SmallModelOptions& options, const std::vector<Output>& outputs) {
  std::mt19937_64 random = generator(12);
  for (GpuDevice* device : cuda_devices()) {
    const SmallModel model(options, Precision::int8, random);
    const SmallBatch batch(kLengths, model.spec, random);
    CudaEngine engine = make_engine(model, {device});
    for (const Output output : outputs) {
      const auto found = run_engine(engine, batch, output);
      const auto expected = run_cpu(model, batch, output, found.size());
      if (output == Output::logits || output == Output::pooled) {
        CHECK(relative_error(found, expected) <= 2e-5);  // two products with factors that are 2^-17 off
        continue;
      }
      for (size_t i = 0; i < found.size(); ++i)
        if (found[i] != expected[i])
          WHITTLE_FAIL("output " << static_cast<int>(output) << ", kernels " << device->info().capability
                                 << ": element " << i << " is " << found[i] << ", not " << expected[i]);
    }
  }
}

struct Tolerance {
  Precision precision;
  double of_states;
};
// float32: three bf16 products leave 2^-16 of each factor. bfloat16: 2^-8 of each
// factor, or twice what bfloat16 costs on the CPU, since some models make more of it.
const std::vector<Tolerance> kTolerances = {{Precision::float32, 1e-4}, {Precision::bfloat16, 2e-2}};

void compare(const SmallModelOptions& options, const std::vector<Output>& outputs,
             const std::vector<Tolerance>& tolerances = kTolerances) {
  compare_int8(options, outputs);
  std::mt19937_64 random = generator(7);
  for (const auto& [precision, tolerance] : tolerances)
    for (GpuDevice* device : cuda_devices()) {
      const SmallModel model(options, precision, random);
      const SmallBatch batch(kLengths, model.spec, random);
      CudaEngine engine = make_engine(model, {device});
      for (const Output output : outputs) {
        const bool is_bf16 = precision == Precision::bfloat16;
        ReferenceEncoder reference(model.spec);
        const auto expected = reference.run(batch.batch(), output);
        const double error = relative_error(run_engine(engine, batch, output), expected);
        double allowed = tolerance;
        if (is_bf16) allowed = std::max(allowed, 2 * bf16_error_of_cpu(model, batch, output, expected));
        if (!(error <= allowed))
          WHITTLE_FAIL("precision " << static_cast<int>(precision) << ", output " << static_cast<int>(output)
                                    << ", kernels " << device->info().capability << ": relative error " << error
                                    << ", expected at most " << allowed);
      }
    }
}

const std::vector<Output> kAll = {Output::logits, Output::hidden, Output::pooled, Output::mean, Output::first};

}  // namespace

TEST(cuda_executor, text_classification) {
  compare({}, kAll);
}

TEST(cuda_executor, token_classification_with_position_bias_and_no_types) {
  SmallModelOptions options;
  options.layers = 1;
  options.task = HeadTask::token_classification;
  options.labels = 9;
  options.position_bias = true;
  options.token_types = 0;
  options.activation = PoolerActivation::relu;
  compare(options, {Output::logits, Output::pooled, Output::mean});
}

TEST(cuda_executor, stored_int8) {
  SmallModelOptions options;
  options.stored_s8 = true;
  options.activation = PoolerActivation::gelu;
  compare(options, {Output::logits, Output::hidden});
}

TEST(cuda_executor, odd_shapes) {
  SmallModelOptions options;
  options.hidden = 60;
  options.heads = 3;
  options.intermediate = 77;
  options.labels = 2;
  options.layers = 1;
  compare(options, {Output::logits, Output::hidden});
}

// Whose bytes come out of the product of int8 models (64, 128), or out of a kernel behind it (40).
TEST(cuda_executor, heads_of_other_sizes) {
  for (const int64_t size : {40, 64, 128}) {
    SmallModelOptions options;
    options.heads = size == 128 ? 1 : 3;
    options.hidden = options.heads * size;
    options.intermediate = 96;
    options.layers = 1;
    compare_int8(options, {Output::logits, Output::hidden});
  }
}

TEST(cuda_executor, shape_of_minilm) {
  SmallModelOptions options;
  options.hidden = 384;
  options.heads = 12;
  options.intermediate = 1536;
  compare(options, {Output::logits});
  compare_int8(options, {Output::hidden, Output::pooled, Output::mean, Output::first});
}

// Whose float16 rows have an order of their own too (sum_place).
TEST(cuda_executor, rows_of_512_columns) {
  SmallModelOptions options;
  options.hidden = 512;
  options.heads = 4;
  options.intermediate = 64;
  compare_int8(options, {Output::logits, Output::hidden});
}

TEST(cuda_executor, rows_do_not_depend_on_the_batch) {
  std::mt19937_64 random = generator(8);
  for (GpuDevice* device : cuda_devices())
    for (const Precision precision : {Precision::float32, Precision::int8}) {
      const SmallModel model({}, precision, random);
      const SmallBatch all(kLengths, model.spec, random);
      CudaEngine engine = make_engine(model, {device});
      const auto together = run_engine(engine, all, Output::logits);
      // Twice, so that a graph is used with another batch than it was made with.
      for (int64_t s = 0; s < all.batch().sequences; ++s) {
        SmallBatch one({}, model.spec, random);
        const int32_t begin = all.offsets[static_cast<size_t>(s)], end = all.offsets[static_cast<size_t>(s + 1)];
        one.ids.assign(all.ids.begin() + begin, all.ids.begin() + end);
        one.types.assign(all.types.begin() + begin, all.types.begin() + end);
        one.offsets.push_back(end - begin);
        const auto alone = run_engine(engine, one, Output::logits);
        for (int64_t c = 0; c < model.spec.labels; ++c)
          CHECK_EQUAL(alone[static_cast<size_t>(c)], together[static_cast<size_t>(s * model.spec.labels + c)]);
      }
    }
}

TEST(cuda_executor, several_devices_and_slices) {
  std::mt19937_64 random = generator(9);
  const SmallModel model({}, Precision::int8, random);
  const SmallBatch batch(std::vector<int64_t>(44, 97), model.spec, random);  // more than one slice
  CudaEngine one = make_engine(model, {cuda_devices().front()});
  std::vector<GpuDevice*> devices = cuda_devices();
  if (devices.size() == 1) devices.push_back(devices.front());  // Memory of a GPU would hold all in one slice.
  CudaEngine several = make_engine(model, devices);
  std::vector<int64_t> seen;
  RunControl control;
  control.progress = [&](int64_t done, int64_t total) {
    CHECK_EQUAL(total, 44);
    seen.push_back(done);
  };
  const auto expected = run_engine(one, batch, Output::logits),
             actual = run_engine(several, batch, Output::logits, control);
  for (size_t i = 0; i < actual.size(); ++i) CHECK_EQUAL(actual[i], expected[i]);
  CHECK(seen.size() > 1 && seen.back() == 44 && std::is_sorted(seen.begin(), seen.end()));
}

// A device on which nothing is done before two batches, on streams of their own, are under way.
class Rendezvous : public ForwardingDevice {
 public:
  using ForwardingDevice::ForwardingDevice;
  bool met = false, armed = false;

  void synchronize(cuda::Stream stream) override {
    if (armed) {
      std::unique_lock lock(mutex_);
      met = changed_.wait_for(lock, std::chrono::seconds(20), [this] { return launched_.size() >= 2; });
    }
    ForwardingDevice::synchronize(stream);
  }
  void launch(GpuGraph graph, cuda::Stream stream) override {
    {
      const std::lock_guard lock(mutex_);
      if (armed) launched_.insert(stream);
    }
    changed_.notify_all();
    ForwardingDevice::launch(graph, stream);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<cuda::Stream> launched_;
};

TEST(cuda_executor, runs_side_by_side_overlap) {
  std::mt19937_64 random = generator(14);
  Rendezvous device(*cuda_devices().front());
  const SmallModel model({}, Precision::int8, random);
  const SmallBatch first({5, 6}, model.spec, random), second({7, 30}, model.spec, random);
  CudaEngine engine = make_engine(model, {&device});
  const auto expected = run_engine(engine, first, Output::logits);
  device.armed = true;
  std::vector<float> found;
  std::thread other([&] { run_engine(engine, second, Output::logits); });
  found = run_engine(engine, first, Output::logits);
  other.join();
  CHECK(device.met);
  for (size_t i = 0; i < found.size(); ++i) CHECK_EQUAL(found[i], expected[i]);
}

TEST(cuda_executor, stops_when_asked) {
  std::mt19937_64 random = generator(10);
  const SmallModel model({}, Precision::int8, random);
  const SmallBatch batch({5, 6}, model.spec, random);
  CudaEngine engine = make_engine(model, {cuda_devices().front()});
  RunControl control;
  control.aborted = [] { return true; };
  try {
    run_engine(engine, batch, Output::logits, control);
  } catch (const Error& error) {
    CHECK_EQUAL(std::string(error.code()), "ABORTED");
    return;
  }
  WHITTLE_FAIL("expected ABORTED");
}

TEST(cuda_executor, weights_that_are_not_finite_are_refused) {
  std::mt19937_64 random = generator(11);
  SmallModel model({}, Precision::int8, random);
  // The bytes of a norm, read where a weight of int8 lies, are no finite floats: point it at a file of NaN.
  char name[] = "/tmp/whittle-nan-XXXXXX";
  std::FILE* file = fdopen(mkstemp(name), "wb");
  const std::vector<float> nans(static_cast<size_t>(model.spec.hidden), NAN);
  std::fwrite(nans.data(), sizeof(float), nans.size(), file);
  std::fclose(file);
  StoredTensor& tensor = model.spec.parameters["layers.1.output.norm.weight"].tensor;
  tensor.file = name;
  tensor.offset = 0;
  std::string message;
  try {
    make_engine(model, {cuda_devices().front()});
  } catch (const Error& error) {
    message = error.what();
  }
  std::remove(name);
  CHECK(message.find("layers.1.output.norm.weight: expected finite numbers") != std::string::npos);
}

TEST(cuda_executor, drivers_that_cannot_be_used) {
  const auto problem = [](int driver, decltype(DriverAnswer::state) state, int gpus) {
    DriverAnswer answer;
    answer.driver_version = driver;
    answer.runtime_version = 13000;
    answer.state = state;
    answer.failure = "initialization error";
    answer.gpus = gpus;
    return driver_problem(answer);
  };
  CHECK_EQUAL(problem(13000, DriverAnswer::answers, 1), "");
  CHECK_EQUAL(problem(13010, DriverAnswer::answers, 8), "");
  CHECK_EQUAL(problem(0, DriverAnswer::too_old, 0), "no NVIDIA driver was found");
  const std::string too_old =
      "the NVIDIA driver is too old: it serves CUDA 12.8 and this build needs 13.0 (driver 580 or later)";
  CHECK_EQUAL(problem(12080, DriverAnswer::too_old, 0), too_old);
  CHECK_EQUAL(problem(12080, DriverAnswer::answers, 1), too_old);
  CHECK(problem(13000, DriverAnswer::no_gpu, 0).find("shows no GPU") != std::string::npos);
  CHECK(problem(13000, DriverAnswer::answers, 0).find("shows no GPU") != std::string::npos);
  CHECK(problem(13000, DriverAnswer::fails, 0).find("does not answer: initialization error") != std::string::npos);
}

TEST(cuda_executor, gpus_that_cannot_be_used) {
  const auto refusal = [](const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return std::string(error.code()) + ": " + error.what();
    }
    return std::string();
  };
  GpuSupport none;
  none.problem = "no NVIDIA driver was found";
  CHECK_EQUAL(refusal([&] { require_gpu(none, 0); }),
              "UNSUPPORTED: Expected a GPU for device cuda:0 but no NVIDIA driver was found");
  GpuSupport two;
  two.devices = {{0, "A", 90, 132, 1}, {1, "B", 75, 40, 1}};
  CHECK_EQUAL(refusal([&] { require_gpu(two, 1); }), "");
  CHECK_EQUAL(refusal([&] { require_gpu(two, 2); }),
              "UNSUPPORTED: Expected a device from cuda:0 to cuda:1 but found cuda:2");
  CHECK_EQUAL(refusal([&] { require_capability(two.devices[0]); }), "");
  CHECK_EQUAL(refusal([&] { require_capability(two.devices[1]); }),
              "UNSUPPORTED: Expected a GPU of compute capability 8.0 or later but cuda:1 (B) has 7.5");
}

TEST(cuda_executor, devices_by_name) {
  CHECK(parse_gpus("cuda") == std::vector<int>{0});
  CHECK(parse_gpus("cuda:3") == std::vector<int>{3});
  CHECK((parse_gpus("cuda:1,cuda:0") == std::vector<int>{1, 0}));
  for (const char* wrong :
       {"", "gpu", "cuda:", "cuda:x", "cuda:0,", "cuda:0,cuda:0", "cuda:0;cuda:1", "cuda:-1", "cuda:99999999"}) {
    std::string code;
    try {
      parse_gpus(wrong);
    } catch (const Error& error) {
      code = error.code();
    }
    CHECK_EQUAL(code, "BAD_OPTION");
  }
}
