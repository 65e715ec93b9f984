#include "cpu/thread_pool.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "cpu/arena.h"
#include "cpu/cpu_info.h"

namespace whittle {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kSpin = std::chrono::microseconds(40);
constexpr int kMaxThreads = 1024;
constexpr int64_t kMaxTasks = (1 << 20) - 1;

// One job at a time. `ticket` holds what a worker must know to claim a task, so that claiming is one compare-and-swap:
// bits 63..32 the job's number, 31..20 how many workers may join, 19..0 how many tasks nobody has claimed. Whoever
// owns an unfinished task may read the other fields of the job: the caller cannot leave before that task is done.
uint64_t make_ticket(uint64_t job, uint64_t workers, uint64_t tasks) {
  return job << 32 | workers << 20 | tasks;
}
uint64_t tasks_left(uint64_t ticket) {
  return ticket & kMaxTasks;
}
uint64_t workers_allowed(uint64_t ticket) {
  return ticket >> 20 & 0xfff;
}

thread_local bool inside_task = false;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Calls `ready` until it is true or the spinning time is over.
template <typename Ready>
bool spin_until(Ready ready) {
  auto end = Clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause_briefly();
    }
  } while (Clock::now() < end);
  return false;
}

}  // namespace

struct ThreadPool::State {
  std::mutex caller;  // held by the thread whose job runs
  int workers = 0;
  uint64_t jobs = 0;
  const FunctionRef<void(int64_t)>* task = nullptr;
  int64_t tasks = 0;
  std::exception_ptr failure;
  std::atomic<bool> failed{false};
  std::deque<Arena> arenas;  // [workers], what thread_arena() is to them
  alignas(64) std::atomic<uint64_t> ticket{0};
  alignas(64) std::atomic<uint32_t> wake{0};  // changes after each new ticket; idle workers sleep on it
  alignas(64) std::atomic<uint32_t> finished{0};

  // Claims and runs tasks of the current job until none is left. True if it ran any.
  bool work(uint64_t worker) {
    bool any = false;
    for (;;) {
      uint64_t seen = ticket.load(std::memory_order_acquire);
      do {
        if (tasks_left(seen) == 0 || worker > workers_allowed(seen)) return any;
      } while (!ticket.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel, std::memory_order_acquire));
      any = true;
      uint32_t all = static_cast<uint32_t>(tasks);
      inside_task = true;
      try {
        (*task)(tasks - static_cast<int64_t>(tasks_left(seen)));
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
      inside_task = false;
      if (finished.fetch_add(1, std::memory_order_acq_rel) + 1 == all) finished.notify_all();
    }
  }

  [[noreturn]] void worker_loop(uint64_t worker, Arena* arena) {
    detail::lent_arena = arena;
    for (;;) {
      if (work(worker)) continue;
      auto ready = [&] {
        uint64_t seen = ticket.load(std::memory_order_acquire);
        return tasks_left(seen) > 0 && worker <= workers_allowed(seen);
      };
      if (spin_until(ready)) continue;
      uint32_t before = wake.load();
      if (!ready()) wake.wait(before);
    }
  }

  // Starts workers until there are `wanted`, or as many as the system grants.
  void start_workers(int wanted) {
    if (workers >= wanted) return;
    if (workers == 0) keep_code_loaded();
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals belong to Node's threads
    try {
      while (workers < wanted) {
        uint64_t worker = static_cast<uint64_t>(workers) + 1;
        if (arenas.size() < worker) arenas.emplace_back();
        std::thread([this, worker, arena = &arenas[worker - 1]] { worker_loop(worker, arena); }).detach();
        ++workers;
      }
    } catch (const std::exception&) {
      // The limit on threads or on memory is reached: fewer workers do the same job.
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  // Node unloads an addon when the last worker_threads environment that loaded it ends; our sleeping threads would
  // then wake up in unmapped memory.
  static void keep_code_loaded() {
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(&make_ticket), &info) && info.dli_fname) {
      dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    }
  }
};

namespace {

std::atomic<bool> forked{false};
std::atomic<int> chosen_threads{0};

}  // namespace

ThreadPool::ThreadPool() : state_(new State) {
  // A forked child has none of the workers, and possibly a lock that nobody will release: it starts anew.
  pthread_atfork(nullptr, nullptr, [] { forked.store(true); });
}

ThreadPool::~ThreadPool() = default;

ThreadPool& ThreadPool::instance() {
  // Never destroyed: workers may sleep in it while the process ends.
  static ThreadPool* const pool = new ThreadPool;
  return *pool;
}

void ThreadPool::run(int64_t tasks, int threads, FunctionRef<void(int64_t)> task) {
  if (forked.load(std::memory_order_relaxed) && forked.exchange(false)) state_ = new State;
  State& state = *state_;
  int64_t participants = std::min<int64_t>({tasks, threads, kMaxThreads});
  std::unique_lock<std::mutex> turn(state.caller, std::defer_lock);
  if (participants <= 1 || tasks > kMaxTasks || inside_task || !turn.try_lock()) {
    for (int64_t index = 0; index < tasks; ++index) task(index);
    return;
  }
  state.start_workers(static_cast<int>(participants) - 1);
  state.task = &task;
  state.tasks = tasks;
  state.finished.store(0, std::memory_order_relaxed);
  ++state.jobs;
  state.ticket.store(make_ticket(state.jobs, static_cast<uint64_t>(participants) - 1, static_cast<uint64_t>(tasks)),
                     std::memory_order_release);
  state.wake.fetch_add(1);
  state.wake.notify_all();
  state.work(0);
  auto done = [&] { return state.finished.load(std::memory_order_acquire) == static_cast<uint32_t>(tasks); };
  while (!done() && !spin_until(done)) {
    uint32_t now = state.finished.load(std::memory_order_acquire);
    if (now != static_cast<uint32_t>(tasks)) state.finished.wait(now);
  }
  if (state.failed.load()) {
    std::exception_ptr failure = std::exchange(state.failure, nullptr);
    state.failed.store(false);
    turn.unlock();
    std::rethrow_exception(failure);
  }
}

void ThreadPool::split(int64_t count, int64_t grain, int threads, FunctionRef<void(int64_t, int64_t)> range) {
  if (count <= 0) return;
  int64_t grains = (count + grain - 1) / grain;
  int64_t parts = std::max<int64_t>(1, std::min<int64_t>({grains, threads, kMaxTasks}));
  if (parts == 1) return range(0, count);
  run(parts, threads, [&](int64_t part) {
    int64_t begin = grains * part / parts * grain, end = grains * (part + 1) / parts * grain;
    range(begin, std::min(end, count));
  });
}

void ThreadPool::settle_arenas(int threads) noexcept {
  State& state = *state_;
  Arena& own = thread_arena();
  size_t peak = own.peak();
  std::unique_lock<std::mutex> turn(state.caller, std::defer_lock);
  const bool alone = !inside_task && turn.try_lock();
  const size_t count = alone ? std::min(state.arenas.size(), static_cast<size_t>(std::max(threads, 1) - 1)) : 0;
  for (size_t i = 0; i < count; ++i) peak = std::max(peak, state.arenas[i].peak());
  try {
    own.reserve(peak);
    for (size_t i = 0; i < count; ++i) state.arenas[i].reserve(peak);
  } catch (const std::bad_alloc&) {
    // They grow when they are used, if there is memory then.
  }
}

int ThreadPool::default_threads() const {
  int chosen = chosen_threads.load(std::memory_order_relaxed);
  return chosen > 0 ? chosen : cpu_info().threads;
}

void ThreadPool::set_default_threads(int threads) {
  chosen_threads.store(std::min(threads, kMaxThreads), std::memory_order_relaxed);
}

}  // namespace whittle
