// One unit of work off the JavaScript thread that settles a promise. The only way glue code runs long work.
#pragma once

#include <napi.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/glue.h"
#include "cpu/error.h"

namespace whittle {

// What running work may ask and tell; safe from any thread.
class TaskControl {
 public:
  // JavaScript wrote something else than 0 into the abort cell.
  bool aborted() const { return abort_cell_ && __atomic_load_n(abort_cell_, __ATOMIC_RELAXED) != 0; }
  void throw_if_aborted() const {
    if (aborted()) throw Error("ABORTED", "Stopped by the caller's signal");
  }
  // Calls the JavaScript function onProgress(done, total) soon, if one was given.
  void progress(int64_t done, int64_t total) {
    if (!has_progress_) return;
    progress_.NonBlockingCall([done, total](Napi::Env env, Napi::Function function) {
      if (env == nullptr) return;
      try {
        function.Call(
            {Napi::Number::New(env, static_cast<double>(done)), Napi::Number::New(env, static_cast<double>(total))});
      } catch (const Napi::Error&) {
        throw_in_javascript(env);  // what the function threw becomes an uncaught exception
      }
    });
  }

 private:
  friend class Task;
  const int32_t* abort_cell_ = nullptr;
  bool has_progress_ = false;
  Napi::ThreadSafeFunction progress_;
};

struct TaskOptions {
  // Undefined, or an Int32Array of one element that JavaScript sets to 1 to abort.
  Napi::Value abort;
  // Undefined, or function (done, total).
  Napi::Value on_progress;
  // Values whose memory the work reads or writes, kept until the promise settles.
  std::vector<Napi::Value> keep;
};

// What every unit of work is made of. Subclasses that are used again after `released` start without allocating.
class Task {
 public:
  virtual ~Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

 protected:
  Task() = default;

  // On a thread of libuv's pool; may throw.
  virtual void work(TaskControl& control) = 0;
  // What the promise resolves to. On the JavaScript thread, as are the following.
  virtual Napi::Value finish(Napi::Env env) = 0;
  // The work has ended, well or not, and the promise has not settled yet.
  virtual void ended(Napi::Env) {}
  // Nothing uses the task any more.
  virtual void released() { delete this; }

  // The promise. If it throws, nothing has started and the task is the caller's.
  Napi::Value start(Napi::Env env, const char* name, const TaskOptions& options) {
    deferred_.emplace(Napi::Promise::Deferred::New(env));
    control_ = TaskControl();
    failure_ = nullptr;
    has_run_ = false;
    kept_.clear();
    accept(options, name);
    if (napi_create_async_work(env, nullptr, Napi::String::New(env, name), execute, complete, this, &handle_) !=
            napi_ok ||
        napi_queue_async_work(env, handle_) != napi_ok)
      throw Error("INTERNAL", std::string("Could not start the task ") + name);
    return deferred_->Promise();
  }

 private:
  void accept(const TaskOptions& options, const char* name) {
    const auto given = [](const Napi::Value& value) { return !value.IsEmpty() && !value.IsUndefined(); };
    if (given(options.abort)) {
      control_.abort_cell_ = elements<int32_t>(options.abort, "abort", 1).data;
      keep(options.abort);
    }
    for (const Napi::Value& value : options.keep) keep(value);
    if (given(options.on_progress)) {
      if (!options.on_progress.IsFunction()) throw Error("BAD_OPTION", "Expected a function for onProgress");
      control_.progress_ =
          Napi::ThreadSafeFunction::New(deferred_->Env(), options.on_progress.As<Napi::Function>(), name, 0, 1);
      control_.has_progress_ = true;
    }
  }

  void keep(const Napi::Value& value) {
    if (value.IsObject()) kept_.push_back(Napi::Persistent(value.As<Napi::Object>()));
  }

  static void execute(napi_env, void* data) {
    auto* self = static_cast<Task*>(data);
    try {
      self->control_.throw_if_aborted();
      self->work(self->control_);
      self->has_run_ = true;
    } catch (...) {
      self->failure_ = std::current_exception();
    }
  }

  // The environment may be going down: then JavaScript values can no longer be made, and nobody awaits the promise.
  static void complete(napi_env raw_env, napi_status, void* data) {
    auto* self = static_cast<Task*>(data);
    const Napi::Env env(raw_env);
    const Napi::HandleScope scope(env);
    try {
      if (self->control_.has_progress_) self->control_.progress_.Release();
      self->ended(env);
      self->settle(env);
    } catch (const Napi::Error&) {
    }
    napi_delete_async_work(raw_env, self->handle_);
    self->kept_.clear();
    self->failure_ = nullptr;
    self->released();
  }

  void settle(Napi::Env env) {
    try {
      if (failure_) std::rethrow_exception(failure_);
      if (!has_run_) throw Error("ABORTED", "Stopped before it started");
      deferred_->Resolve(finish(env));
    } catch (const Napi::Error& error) {
      deferred_->Reject(error.Value());
    } catch (const std::exception& error) {
      deferred_->Reject(javascript_error(env, error).Value());
    }
  }

  std::optional<Napi::Promise::Deferred> deferred_;
  TaskControl control_;
  std::vector<Napi::ObjectReference> kept_;
  std::exception_ptr failure_;
  bool has_run_ = false;
  napi_async_work handle_ = nullptr;
};

//   return AsyncTask<Sum>::start(env, "sum", [=](TaskControl& control) { ... return sum; },
//                                [](Napi::Env env, Sum& sum) { return Napi::Number::New(env, sum.value); }, options);
// `work` runs on a thread of libuv's pool and may throw; `finish` turns its result into a JavaScript value.
template <typename Result>
class AsyncTask final : public Task {
 public:
  using Work = std::function<Result(TaskControl&)>;
  using Finish = std::function<Napi::Value(Napi::Env, Result&)>;

  static Napi::Value start(Napi::Env env, const char* name, Work work, Finish finish, const TaskOptions& options) {
    std::unique_ptr<AsyncTask> task(new AsyncTask(std::move(work), std::move(finish)));
    const Napi::Value promise = task->Task::start(env, name, options);
    task.release();  // released() deletes it
    return promise;
  }

 private:
  AsyncTask(Work work, Finish finish) : work_(std::move(work)), finish_(std::move(finish)) {}

  void work(TaskControl& control) override { result_.emplace(work_(control)); }
  Napi::Value finish(Napi::Env env) override { return finish_(env, *result_); }

  Work work_;
  Finish finish_;
  std::optional<Result> result_;
};

}  // namespace whittle
