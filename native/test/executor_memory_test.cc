// What runs of the engine allocate: nothing once they are warm, and any allocation may fail.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "engine/byte_layers.h"
#include "engine/executor.h"
#include "test/allocations.h"
#include "test/small_model.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// While this lives, threads divide the columns of products of int8 models of any size if there are few rows.
struct DividedColumns {
  const int64_t before = std::exchange(ByteLayers::cached_weights, 0);
  ~DividedColumns() { ByteLayers::cached_weights = before; }
};

constexpr Output kOutputs[] = {Output::logits, Output::hidden, Output::pooled, Output::mean, Output::first};

// Scratch memory beyond the first block of an arena.
SmallModelOptions options() {
  SmallModelOptions options;
  options.layers = 2;
  options.hidden = 128;
  options.heads = 4;
  options.intermediate = 512;
  options.positions = 512;
  return options;
}

void run(Executor& executor, const PackedModel& model, const SmallBatch& batch, Output output, int threads,
         std::vector<float>& out) {
  executor.run(model, batch.batch(), output, threads, out.data(), {});
}

// The first run of the widest batch at each number of threads, then it again and batches within it.
void check_warm_runs(Precision precision) {
  if (precision == Precision::bfloat16 && !kernels().native_bf16) SKIP("this CPU does not multiply bf16");
  auto random = generator(50);
  const SmallModel small(options(), precision, random);
  const PackedModel model(small.spec, kernels(), 1, [] {});
  const SmallBatch widest({512, 30, 400, 1, 77, 512, 130, 16, 16, 300, 512}, small.spec, random);
  const std::vector<SmallBatch> within = {SmallBatch({512}, small.spec, random), SmallBatch({130}, small.spec, random),
                                          SmallBatch({1}, small.spec, random), SmallBatch({16, 5}, small.spec, random),
                                          SmallBatch({300, 300, 1, 511}, small.spec, random)};
  std::vector<float> out(static_cast<size_t>(widest.batch().tokens() * model.hidden));
  Executor executor;
  for (const int threads : {1, 2, 5}) {
    for (const Output output : kOutputs) run(executor, model, widest, output, threads, out);
    const auto check = [&](const SmallBatch& batch, const char* which) {
      for (const Output output : kOutputs) {
        const uint64_t before = allocations();
        for (int i = 0; i < 3; ++i) run(executor, model, batch, output, threads, out);
        if (allocations() != before)
          WHITTLE_FAIL("expected no allocations in warm runs of " << which << ", " << batch.batch().tokens()
                                                                  << " tokens, on " << threads << " threads but found "
                                                                  << allocations() - before);
      }
    };
    check(widest, "the batch that has run");
    for (const SmallBatch& batch : within) check(batch, "a batch within one that has run");
  }
}

// In a child process, where nothing is warm: runs with the n-th allocation failing, then without. Returns whether an
// allocation failed; `out` lies in shared memory and has the results of the second run.
bool fails_at(int64_t nth, bool all, const PackedModel& model, const SmallBatch& batch, float* out, size_t count) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    int status = 9;
    try {
      Executor executor;
      bool threw = false;
      fail_allocation(nth, all);
      try {
        executor.run(model, batch.batch(), Output::hidden, 3, out, {});
      } catch (const std::bad_alloc&) {
        threw = true;
      }
      const bool failed = allocation_failed();
      fail_allocation(-1);
      std::memset(out, 255, count * sizeof(float));
      executor.run(model, batch.batch(), Output::hidden, 3, out, {});
      status = threw && !failed ? 8 : failed ? 1 : 0;
    } catch (...) {
    }
    _exit(status);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
    WHITTLE_FAIL("expected allocation " << nth << " to fail harmlessly but the status is " << status);
  return WEXITSTATUS(status) == 1;
}

void check_failures(Precision precision) {
  if (precision == Precision::bfloat16 && !kernels().native_bf16) SKIP("this CPU does not multiply bf16");
  auto random = generator(51);
  const SmallModel small(options(), precision, random);
  const PackedModel model(small.spec, kernels(), 1, [] {});
  // Several chunks, and one that all threads share.
  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{200, 100, 64, 512, 30, 7, 90, 120}, {512}}) {
    const SmallBatch batch(lengths, small.spec, random);
    const size_t count = static_cast<size_t>(batch.batch().tokens() * model.hidden);
    void* shared = mmap(nullptr, count * sizeof(float), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    float* out = static_cast<float*>(shared);
    CHECK(!fails_at(1 << 30, false, model, batch, out, count));
    const std::vector<float> expected(out, out + count);
    for (const bool all : {false, true}) {
      int64_t nth = 0;
      while (fails_at(nth, all, model, batch, out, count)) {
        CHECK(std::memcmp(out, expected.data(), count * sizeof(float)) == 0);
        CHECK(++nth < 1000);
      }
      CHECK(nth > 2);
    }
    munmap(shared, count * sizeof(float));
  }
}

}  // namespace

TEST(executor_memory_float32, warm_runs_allocate_nothing) {
  check_warm_runs(Precision::float32);
}
TEST(executor_memory_bfloat16, warm_runs_allocate_nothing) {
  check_warm_runs(Precision::bfloat16);
}
TEST(executor_memory_int8, warm_runs_allocate_nothing) {
  check_warm_runs(Precision::int8);
}

// Rows just more than a block has are two blocks of half as many; the block of fewer rows is larger than those.
TEST(executor_memory_int8, a_larger_block_of_fewer_rows_allocates_nothing) {
  auto random = generator(51);
  SmallModelOptions wide = options();
  wide.intermediate = 4096;
  const SmallModel small(wide, Precision::int8, random);
  const PackedModel model(small.spec, kernels(), 1, [] {});
  Executor executor;
  for (const int64_t rows : {48, 192}) {  // of vectors and of tiles
    const SmallBatch more({rows + 1}, small.spec, random), fewer({rows}, small.spec, random);
    std::vector<float> out(static_cast<size_t>((rows + 1) * model.hidden));
    for (int i = 0; i < 2; ++i) run(executor, model, more, Output::hidden, 1, out);
    const uint64_t before = allocations();
    run(executor, model, fewer, Output::hidden, 1, out);
    CHECK_EQUAL(allocations(), before);
  }
}

TEST(executor_memory_int8, warm_runs_by_columns_allocate_nothing) {
  const DividedColumns divided;
  check_warm_runs(Precision::int8);
}

TEST(executor_failure_float32, any_allocation_of_a_cold_run_may_fail) {
  check_failures(Precision::float32);
}
TEST(executor_failure_bfloat16, any_allocation_of_a_cold_run_may_fail) {
  check_failures(Precision::bfloat16);
}
TEST(executor_failure_int8, any_allocation_of_a_cold_run_may_fail) {
  check_failures(Precision::int8);
}

TEST(executor_failure_int8, any_allocation_of_a_cold_run_by_columns_may_fail) {
  const DividedColumns divided;
  check_failures(Precision::int8);
}

TEST(executor_failure_int8, a_model_that_finds_no_memory_is_not_loaded) {
  auto random = generator(52);
  const SmallModel small(options(), Precision::int8, random);
  int64_t nth = 0, refused = 0;
  for (bool failed = true; failed; nth += 13) {
    fail_allocation(nth);
    try {
      const PackedModel model(small.spec, kernels(), 2, [] {});
    } catch (const std::bad_alloc&) {
      ++refused;
    }
    failed = allocation_failed();
    fail_allocation(-1);
  }
  CHECK(refused > 10);
}
