#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "cpu/cpu_info.h"
#include "cpu/thread_pool.h"
#include "test/test.h"

using namespace whittle;

TEST(thread_pool, every_task_runs_once) {
  ThreadPool& pool = ThreadPool::instance();
  for (int64_t tasks : {0, 1, 2, 3, 7, 64, 1000}) {
    for (int threads : {0, 1, 2, 3, 8}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
      pool.run(tasks, threads, [&](int64_t index) { runs[static_cast<size_t>(index)].fetch_add(1); });
      for (auto& count : runs) CHECK_EQUAL(count.load(), 1);
    }
  }
}

TEST(thread_pool, split_covers_the_range_in_whole_grains) {
  ThreadPool& pool = ThreadPool::instance();
  for (int64_t count : {1, 15, 16, 17, 1000, 1001}) {
    for (int threads : {1, 2, 3, 5}) {
      std::vector<std::atomic<int>> covered(static_cast<size_t>(count));
      std::atomic<int> ragged{0};
      pool.split(count, 16, threads, [&](int64_t begin, int64_t end) {
        if (begin % 16 != 0 || (end % 16 != 0 && end != count) || begin >= end) ++ragged;
        for (int64_t i = begin; i < end; ++i) covered[static_cast<size_t>(i)].fetch_add(1);
      });
      CHECK_EQUAL(ragged.load(), 0);
      for (auto& times : covered) CHECK_EQUAL(times.load(), 1);
    }
  }
}

TEST(thread_pool, short_jobs_from_many_callers) {
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  constexpr int kCallers = 8, kJobs = 4000;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&] {
      for (int job = 0; job < kJobs; ++job) {
        std::atomic<int64_t> own{0};
        ThreadPool::instance().run(1 + job % 5, 1 + job % 4, [&](int64_t index) { own.fetch_add(index + 1); });
        sum.fetch_add(own.load());
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  int64_t expected = 0;
  for (int job = 0; job < kJobs; ++job) expected += (1 + job % 5) * (2 + job % 5) / 2;
  CHECK_EQUAL(sum.load(), expected * kCallers);
}

TEST(thread_pool, sleeping_workers_wake_up) {
  for (int job = 0; job < 30; ++job) {
    usleep(1000);  // longer than they spin
    std::atomic<int> runs{0};
    ThreadPool::instance().run(4, 4, [&](int64_t) { ++runs; });
    CHECK_EQUAL(runs.load(), 4);
  }
}

TEST(thread_pool, nested_calls_run_inline) {
  std::atomic<int> runs{0};
  ThreadPool::instance().run(3, 3, [&](int64_t) { ThreadPool::instance().run(5, 3, [&](int64_t) { ++runs; }); });
  CHECK_EQUAL(runs.load(), 15);
}

TEST(thread_pool, an_exception_reaches_the_caller_and_the_pool_lives_on) {
  ThreadPool& pool = ThreadPool::instance();
  for (int round = 0; round < 3; ++round) {
    std::string caught;
    try {
      pool.run(20, 3, [](int64_t index) {
        if (index == 7) throw std::runtime_error("seven");
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    CHECK_EQUAL(caught, std::string("seven"));
    std::atomic<int> runs{0};
    pool.run(20, 3, [&](int64_t) { ++runs; });
    CHECK_EQUAL(runs.load(), 20);
  }
}

TEST(thread_pool, a_forked_child_has_a_pool_of_its_own) {
  std::atomic<int> runs{0};
  ThreadPool::instance().run(8, 4, [&](int64_t) { ++runs; });
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    std::atomic<int> own{0};
    for (int job = 0; job < 100; ++job) ThreadPool::instance().run(8, 4, [&](int64_t) { ++own; });
    _exit(own.load() == 800 ? 0 : 1);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(thread_pool, default_follows_the_machine_unless_set) {
  ThreadPool& pool = ThreadPool::instance();
  CHECK_EQUAL(pool.default_threads(), cpu_info().threads);
  pool.set_default_threads(3);
  CHECK_EQUAL(pool.default_threads(), 3);
  pool.set_default_threads(0);
  CHECK_EQUAL(pool.default_threads(), cpu_info().threads);
}
