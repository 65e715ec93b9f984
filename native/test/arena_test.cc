#include "cpu/arena.h"
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
