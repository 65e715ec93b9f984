// The process-wide pool. Work is split statically, so results never depend on the number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace whittle {

// A reference to something that can be called: like std::function, but it allocates nothing and owns nothing. The
// callable must outlive the call it is passed to, as a lambda written in the argument list does.
template <typename Signature>
class FunctionRef;

template <typename Result, typename... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <typename F, typename = std::enable_if_t<!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>>>
  FunctionRef(F&& callable)  // NOLINT: implicit, so that a lambda can be passed
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Arguments... arguments) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Arguments>(arguments)...);
        }) {}
  Result operator()(Arguments... arguments) const { return call_(object_, std::forward<Arguments>(arguments)...); }

 private:
  void* object_;
  Result (*call_)(void*, Arguments...);
};

class ThreadPool {
 public:
  // Shared by all environments of the process; its workers start at first use and sleep when idle.
  static ThreadPool& instance();

  // Calls task(index) for every index in [0, tasks), on at most `threads` threads with the caller among them;
  // returns when all are done. Which thread takes which index is left to the moment. A caller that finds the pool busy
  // with another caller's job runs its own tasks itself, as does a task that calls run(). If tasks throw, the first
  // exception is thrown again here once all are done.
  void run(int64_t tasks, int threads, FunctionRef<void(int64_t)> task);

  // Splits [0, count) into contiguous ranges of at least `grain`, a multiple of `grain` each except the last.
  void split(int64_t count, int64_t grain, int threads, FunctionRef<void(int64_t, int64_t)> range);

  // After jobs of up to `threads` threads: the arenas of these workers and of the caller become as large as the most that
  // one of them has needed so far. Which thread took which task was chance; when the same work comes again, every
  // thread has the memory for any task of it. Without memory for that, or while another caller's job runs, arenas
  // stay as they are.
  void settle_arenas(int threads) noexcept;

  // Default of `threads` for everything in this process; CpuInfo::threads unless set.
  int default_threads() const;
  void set_default_threads(int threads);

 private:
  ThreadPool();
  ~ThreadPool();
  struct State;
  State* state_;
};

}  // namespace whittle
