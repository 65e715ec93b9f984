#include "test/allocations.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<uint64_t> count{0};
std::atomic<int64_t> until_failure{-1};
std::atomic<bool> fail_all{false}, failed{false};

void* take(size_t bytes, size_t alignment) {
  count.fetch_add(1, std::memory_order_relaxed);
  if (until_failure.load() >= 0 && until_failure.fetch_sub(1) == 0) {
    if (fail_all) until_failure = 0;
    failed = true;
    throw std::bad_alloc();
  }
  if (bytes == 0) bytes = 1;
  void* memory = nullptr;
  if (alignment <= alignof(std::max_align_t))
    memory = std::malloc(bytes);
  else if (posix_memalign(&memory, alignment, bytes) != 0)
    memory = nullptr;
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

// The other forms (arrays, nothrow, sized) call these.
void* operator new(size_t bytes) {
  return take(bytes, 0);
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return take(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace whittle::test {

uint64_t allocations() {
  return count.load();
}

void fail_allocation(int64_t nth, bool all) {
  failed = false;
  fail_all = all;
  until_failure = nth;
}

bool allocation_failed() {
  return failed.load();
}

}  // namespace whittle::test
