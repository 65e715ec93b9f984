#include "cpu/arena.h"

#include <thread>

#include "test/test.h"

using namespace whittle;

TEST(arena, scopes_give_back_and_reuse) {
  Arena arena;
  float* first;
  {
    Arena::Scope scope(arena);
    first = arena.take<float>(100);
    CHECK(reinterpret_cast<uintptr_t>(first) % kAlignment == 0);
    float* second = arena.take<float>(1 << 22);  // does not fit the first block
    CHECK(second != first);
    second[(1 << 22) - 1] = 1;
  }
  Arena::Scope scope(arena);
  CHECK(arena.take<float>(100) == first);
}

TEST(arena, reserved_memory_holds_what_was_in_use_at_once) {
  const auto use = [](Arena& arena) {
    const Arena::Scope outer(arena);
    arena.take<char>(100);
    {
      const Arena::Scope inner(arena);
      arena.take<float>(1 << 19);
      arena.take<float>(1 << 18);
    }
    const Arena::Scope inner(arena);
    arena.take<float>(3 << 18);
  };
  Arena grown, reserved;
  use(grown);
  CHECK_EQUAL(grown.peak(), size_t{128} + (3 << 20));
  reserved.reserve(grown.peak());
  uint64_t before = arena_growth.load();
  use(reserved);
  CHECK_EQUAL(arena_growth.load(), before);
  // Blocks that it grew by become one.
  grown.reserve(grown.peak());
  before = arena_growth.load();
  use(grown);
  grown.reserve(grown.peak());
  CHECK_EQUAL(arena_growth.load(), before);
}

TEST(arena, a_lent_arena_goes_to_the_next_thread) {
  const auto take = [] {
    const LentArena lent;
    const Arena::Scope scope(thread_arena());
    return thread_arena().take<float>(100);
  };
  const float* here = take();
  const float* there = nullptr;
  std::thread([&] { there = take(); }).join();
  CHECK(there == here);
  Arena& own = thread_arena();
  const LentArena one;
  Arena& first = thread_arena();
  CHECK(&first != &own);
  {
    const LentArena other;
    CHECK(&thread_arena() != &first);
  }
  CHECK(&thread_arena() == &first);
}
