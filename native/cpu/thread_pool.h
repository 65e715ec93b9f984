// The process-wide pool. Work is split statically, so results never depend on the number of threads.
#pragma once

#include <cstdint>
#include <functional>

namespace whittle {

class ThreadPool {
 public:
  // Shared by all environments of the process; its workers start at first use and sleep when idle.
  static ThreadPool& instance();

  // Calls task(index) for every index in [0, tasks), on at most `threads` threads with the caller among them;
  // returns when all are done. Concurrent calls from several threads are allowed (they take turns or run inline).
  // A task must not throw and must not call run().
  void run(int64_t tasks, int threads, const std::function<void(int64_t)>& task);

  // Splits [0, count) into contiguous ranges of at least `grain`, a multiple of `grain` each except the last.
  void split(int64_t count, int64_t grain, int threads, const std::function<void(int64_t, int64_t)>& range);

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
