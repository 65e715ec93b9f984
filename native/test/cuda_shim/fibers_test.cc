// That the shim shows what a GPU would punish: kernels with a mistake each, over the turns of order and time.
#include <set>

#include "test/cuda_shim/device_emulation.h"
#include "test/test.h"

using namespace whittle;

namespace {

constexpr int kTurns = 8;
constexpr uint8_t kPoison = 0x7f;

// What thread 0 of a warp finds, in blocks of as many launches as there are turns.
template <typename Kernel>
std::set<int> results(const Kernel& kernel) {
  std::set<int> found;
  for (int turn = 0; turn < kTurns; ++turn)
    cuda::shim::run_grid({1, 1, 1}, 32, 1024, [&] {
      const int result = kernel(cuda::dynamic_shared(), static_cast<int>(threadIdx.x));
      if (threadIdx.x == 0) found.insert(result);
    });
  return found;
}

alignas(16) const uint8_t kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

}  // namespace

TEST(cuda_shim, a_missing_wait_shows) {
  const auto found = results([](uint8_t* shared, int thread) {
    if (thread == 0) cuda::copy_async(shared, kOnes);
    cuda::copy_async_commit();
    const int value = shared[0];
    cuda::copy_async_wait<0>();
    return value;
  });
  CHECK((found == std::set<int>{1, kPoison}));
}

TEST(cuda_shim, a_stage_that_is_filled_too_soon_shows) {
  const auto found = results([](uint8_t* shared, int thread) {
    if (thread == 0) shared[0] = 5;
    cuda::sync_warp();
    if (thread == 1) cuda::copy_async(shared, kOnes);
    cuda::copy_async_commit();
    const int value = thread == 0 ? shared[0] : 0;
    cuda::copy_async_wait<0>();
    cuda::sync_warp();
    return value;
  });
  CHECK((found == std::set<int>{1, 5}));
}

TEST(cuda_shim, a_bulk_copy_into_a_stage_in_use_shows) {
  const auto found = results([](uint8_t* shared, int thread) {
    uint64_t* barrier = reinterpret_cast<uint64_t*>(shared + 64);
    if (thread == 0) {
      shared[0] = 5;
      cuda::barrier_init(barrier, 1);
    }
    cuda::sync_warp();
    if (thread == 1) {
      cuda::barrier_arrive_expect(barrier, 16);
      cuda::copy_bulk(shared, kOnes, 16, barrier);
    }
    const int value = thread == 0 ? shared[0] : 0;
    cuda::barrier_wait(barrier, 0);
    return value;
  });
  CHECK((found == std::set<int>{1, 5}));
}

TEST(cuda_shim, a_missing_synchronization_shows_both_ways) {
  for (const int other : {1, 31}) {
    std::set<int> of_first, of_last;
    for (int turn = 0; turn < kTurns; ++turn)
      cuda::shim::run_grid({1, 1, 1}, 32, 1024, [&] {
        uint8_t* shared = cuda::dynamic_shared();
        const int thread = static_cast<int>(threadIdx.x);
        shared[thread] = 3;
        if (thread == 0) of_first.insert(shared[other]);
        if (thread == other) of_last.insert(shared[0]);
        cuda::sync_warp();
      });
    CHECK((of_first == std::set<int>{3, kPoison}));
    CHECK((of_last == std::set<int>{3, kPoison}));
  }
}
