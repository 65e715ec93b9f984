// Engines: packed models and the executors that run them, as JavaScript sees them.
#include <cmath>
#include <cstring>
#include <memory>

#include "addon/async_task.h"
#include "addon/stored_parameters.h"
#include "engine/executor.h"
#include "engine/model_registry.h"

namespace whittle {

namespace {

// Counts itself among the users of a model, which is packed for the CPU or lies on GPUs.
class ModelUse {
 public:
  explicit ModelUse(std::shared_ptr<const PackedModel> model) : cpu_(std::move(model)) { ++users(); }
  ModelUse(std::shared_ptr<CudaEngine> engine, std::string device)
      : gpu_(std::move(engine)), device_(std::move(device)) {
    ++users();
  }
  ~ModelUse() { --users(); }
  ModelUse(const ModelUse&) = delete;
  ModelUse& operator=(const ModelUse&) = delete;

  std::atomic<int>& users() const { return gpu_ ? gpu_->users : cpu_->users; }
  const std::string& device() const { return device_; }
  Precision precision() const { return gpu_ ? gpu_->model().precision : cpu_->precision; }
  int64_t bytes() const { return gpu_ ? gpu_->bytes() : cpu_->bytes(); }
  std::string isa() const {
    return gpu_ ? "sm_" + std::to_string(gpu_->model().device.info().capability) : isa_name(cpu_->kernels.isa);
  }
  BatchLimits limits() const {
    if (!gpu_) return {cpu_->vocabulary, cpu_->token_types, cpu_->positions - cpu_->position_offset};
    const CudaModel& model = gpu_->model();
    return {model.vocabulary, model.token_types, model.positions - model.position_offset};
  }
  OutputShape shape(const RaggedBatch& batch, Output output) const {
    return gpu_ ? gpu_->output_shape(batch.tokens(), batch.sequences, output) : output_shape(*cpu_, batch, output);
  }
  void run(Executor& executor, const RaggedBatch& batch, Output output, int threads, float* out,
           const RunControl& control) const {
    if (gpu_)
      gpu_->run(batch, output, out, control);
    else
      executor.run(*cpu_, batch, output, threads, out, control);
  }

 private:
  std::shared_ptr<const PackedModel> cpu_;
  std::shared_ptr<CudaEngine> gpu_;
  std::string device_ = "cpu";
};

class RunTask;

// One engine of one environment. Only `use` is touched off the JavaScript thread.
struct Engine {
  std::shared_ptr<ModelUse> use;                // null once disposed and idle
  std::vector<std::unique_ptr<RunTask>> tasks;  // that wait for their next run
  int running = 0;
  bool disposed = false;
  std::vector<Napi::Promise::Deferred> disposals;  // waiting for the runs to end

  Engine();
  ~Engine();
  void free_when_idle(Napi::Env env);
};

using Handle = Napi::External<std::shared_ptr<Engine>>;
constexpr napi_type_tag kEngineTag = {0x77686974746c6501, 0x656e67696e650001};

std::shared_ptr<Engine> engine_of(const Napi::Value& value) {
  if (!value.IsExternal() || !value.As<Napi::External<void>>().CheckTypeTag(&kEngineTag))
    throw Error("BAD_OPTION", "Expected an engine that engineLoad returned");
  return *value.As<Handle>().Data();
}

std::shared_ptr<Engine> live_engine(const Napi::Value& value) {
  std::shared_ptr<Engine> engine = engine_of(value);
  if (engine->disposed) throw Error("DISPOSED", "The engine was used after dispose()");
  return engine;
}

template <typename Enum>
Enum choice(const Napi::Value& value, const char* name, const std::vector<const char*>& names) {
  const std::string found = text(value, name);
  for (size_t i = 0; i < names.size(); ++i)
    if (found == names[i]) return static_cast<Enum>(i);
  std::string expected;
  for (const char* one : names) expected += (expected.empty() ? "" : ", ") + std::string(one);
  throw Error("BAD_OPTION", "Expected one of " + expected + " for " + name + " but received \"" + found + "\"");
}

const std::vector<const char*> kPrecisions = {"float32", "bfloat16", "int8"};
const std::vector<const char*> kOutputs = {"logits", "hidden", "pooled", "mean", "first"};

// positionBuckets and positionBiasRows, of models with a relative position bias.
void read_position_buckets(const Napi::Object& spec, ModelSpec& result) {
  if (spec.Get("positionBuckets").IsUndefined()) return;
  const Elements<int32_t> buckets =
      elements<int32_t>(spec.Get("positionBuckets"), "positionBuckets", 2 * result.longest() - 1);
  result.position_bias_rows = integer(spec.Get("positionBiasRows"), "positionBiasRows", 1, 1 << 16);
  for (int64_t i = 0; i < buckets.count; ++i)
    if (buckets.data[i] < 0 || buckets.data[i] >= result.position_bias_rows)
      throw Error("BAD_OPTION", "Expected positionBuckets below " + std::to_string(result.position_bias_rows) +
                                    " but found " + std::to_string(buckets.data[i]));
  result.position_buckets.assign(buckets.data, buckets.data + buckets.count);
}

ModelSpec model_spec(const Napi::Object& spec) {
  constexpr int64_t kMost = int64_t{1} << 31;
  const auto size = [&](const char* name, int64_t low) { return integer(spec.Get(name), name, low, kMost); };
  ModelSpec result;
  result.layers = size("layers", 1);
  result.hidden = size("hidden", 1);
  result.heads = size("heads", 1);
  result.intermediate = size("intermediate", 1);
  result.vocabulary = size("vocabulary", 1);
  result.positions = size("positions", 1);
  result.position_offset = size("positionOffset", 0);
  result.token_types = size("tokenTypes", 0);
  if (result.positions <= result.position_offset) throw Error("BAD_OPTION", "Expected positionOffset below positions");
  result.labels = size("labels", 0);
  result.norm_epsilon = static_cast<float>(number(spec.Get("normEpsilon"), "normEpsilon"));
  result.task = choice<HeadTask>(spec.Get("task"), "task", {"none", "text-classification", "token-classification"});
  result.pooler_activation =
      choice<PoolerActivation>(spec.Get("poolerActivation"), "poolerActivation", {"tanh", "relu", "gelu"});
  read_position_buckets(spec, result);
  result.precision = choice<Precision>(spec.Get("precision"), "precision", kPrecisions);
  if (result.hidden % result.heads != 0) throw Error("BAD_OPTION", "Expected hidden to be a multiple of heads");
  const Napi::Object parameters = object(spec.Get("parameters"), "parameters");
  const Napi::Array names = parameters.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = text(names.Get(i), "parameters");
    result.parameters.emplace(name, stored_parameter(parameters.Get(name), "parameters"));
  }
  return result;
}

// engineLoad(spec, abort?): Promise<EngineHandle>
Napi::Value engine_load(const Napi::CallbackInfo& info) {
  TaskOptions options;
  options.abort = info[1];
  return AsyncTask<std::shared_ptr<ModelUse>>::start(
      info.Env(), "engineLoad",
      [spec = model_spec(object(info[0], "spec")),
       device = text(object(info[0], "spec").Get("device"), "device")](TaskControl& control) {
        const auto check = [&control] { control.throw_if_aborted(); };
        const int threads = ThreadPool::instance().default_threads();
        if (device == "cpu") return std::make_shared<ModelUse>(shared_model(spec, kernels(), threads, check));
        return std::make_shared<ModelUse>(shared_cuda_engine(spec, device, kernels(), threads, check), device);
      },
      [](Napi::Env env, std::shared_ptr<ModelUse>& use) -> Napi::Value {
        auto engine = std::make_shared<Engine>();
        engine->use = std::move(use);
        Handle handle = Handle::New(env, new std::shared_ptr<Engine>(engine),
                                    [](Napi::Env, std::shared_ptr<Engine>* held) { delete held; });
        handle.TypeTag(&kEngineTag);
        return handle;
      },
      options);
}

// engineInfo(engine): EngineInfo
Napi::Value engine_info(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = live_engine(info[0]);
  const ModelUse& use = *engine->use;
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("precision", kPrecisions[static_cast<size_t>(use.precision())]);
  result.Set("device", use.device());
  result.Set("isa", use.isa());
  result.Set("packedBytes", static_cast<double>(use.bytes()));
  result.Set("sharedBy", use.users().load());
  return result;
}

// One run of an engine. When it is over the task waits for the next one with the memory that it has: a run like one
// before allocates nothing. The ids are copies, since JavaScript may change its arrays meanwhile.
class RunTask final : public Task {
 public:
  // engineRun(engine, inputIds, tokenTypeIds, offsets, options): Promise<Float32Array>
  static Napi::Value start(const Napi::CallbackInfo& info) {
    const Napi::Object given = object(info[4], "options");
    std::shared_ptr<Engine> engine = live_engine(info[0]);
    std::unique_ptr<RunTask> task;
    if (engine->tasks.empty()) {
      task = std::make_unique<RunTask>();
    } else {
      task = std::move(engine->tasks.back());
      engine->tasks.pop_back();
    }
    task->engine_ = std::move(engine);
    task->read(info, given);
    TaskOptions options;
    options.abort = given.Get("abort");
    options.on_progress = given.Get("onProgress");
    const Napi::Value promise = task->Task::start(info.Env(), "engineRun", options);
    ++task->engine_->running;
    task.release();  // released() gives it back to the engine
    return promise;
  }

 private:
  void read(const Napi::CallbackInfo& info, const Napi::Object& options) {
    use_ = engine_->use;
    output_ = choice<Output>(options.Get("output"), "output", kOutputs);
    threads_ = static_cast<int>(integer(options.Get("threads"), "threads", 0, 4096));
    if (threads_ == 0) threads_ = ThreadPool::instance().default_threads();
    const Elements<int32_t> ids = elements<int32_t>(info[1], "inputIds");
    const Elements<int32_t> types = elements<int32_t>(info[2], "tokenTypeIds", ids.count);
    const Elements<int32_t> offsets = elements<int32_t>(info[3], "offsets");
    executor_.input_ids.assign(ids.data, ids.data + ids.count);
    executor_.token_type_ids.assign(types.data, types.data + types.count);
    executor_.offsets.assign(offsets.data, offsets.data + offsets.count);
    batch_ = {executor_.input_ids.data(), executor_.token_type_ids.data(), executor_.offsets.data(), offsets.count - 1};
    check_batch(batch_, ids.count, offsets.count, use_->limits());
    const OutputShape shape = use_->shape(batch_, output_);
    Napi::Float32Array out = new_array<float>(info.Env(), static_cast<size_t>(shape.rows * shape.columns));
    out_ = out.Data();
    result_ = Napi::Persistent(out.As<Napi::Object>());
    tells_progress_ = !options.Get("onProgress").IsUndefined();
  }

  void work(TaskControl& control) override {
    RunControl run_control;
    run_control.aborted = [&control] { return control.aborted(); };
    if (tells_progress_)
      run_control.progress = [&control](int64_t done, int64_t total) { control.progress(done, total); };
    use_->run(executor_, batch_, output_, threads_, out_, run_control);
  }

  Napi::Value finish(Napi::Env) override { return result_.Value(); }

  void ended(Napi::Env env) override {
    use_.reset();
    --engine_->running;
    engine_->free_when_idle(env);
  }

  void released() override {
    result_.Reset();
    std::unique_ptr<RunTask> self(this);
    const std::shared_ptr<Engine> engine = std::move(engine_);
    if (engine->disposed) return;
    try {
      engine->tasks.push_back(std::move(self));
    } catch (const std::bad_alloc&) {
      // The next run makes a new one.
    }
  }

  std::shared_ptr<Engine> engine_;  // while it runs
  std::shared_ptr<ModelUse> use_;
  Executor executor_;
  RaggedBatch batch_{};
  Output output_ = Output::logits;
  int threads_ = 0;
  bool tells_progress_ = false;
  float* out_ = nullptr;
  Napi::ObjectReference result_;
};

Engine::Engine() = default;
Engine::~Engine() = default;

void Engine::free_when_idle(Napi::Env env) {
  if (!disposed || running > 0) return;
  use.reset();
  tasks.clear();
  for (const Napi::Promise::Deferred& disposal : disposals) disposal.Resolve(env.Undefined());
  disposals.clear();
}

// engineDispose(engine): Promise<void>
Napi::Value engine_dispose(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = engine_of(info[0]);
  const Napi::Promise::Deferred disposal = Napi::Promise::Deferred::New(info.Env());
  engine->disposed = true;
  engine->disposals.push_back(disposal);
  engine->free_when_idle(info.Env());
  return disposal.Promise();
}

}  // namespace

void add_engine_glue(Napi::Env, Napi::Object exports) {
  export_function<engine_load>(exports, "engineLoad");
  export_function<engine_info>(exports, "engineInfo");
  export_function<RunTask::start>(exports, "engineRun");
  export_function<engine_dispose>(exports, "engineDispose");
}

}  // namespace whittle
