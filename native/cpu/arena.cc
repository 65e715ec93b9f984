#include "cpu/arena.h"

#include <memory>
#include <mutex>

namespace whittle {

namespace {

struct Lending {
  std::mutex mutex;
  std::vector<std::unique_ptr<Arena>> all;
  std::vector<Arena*> idle;  // the one given back last is lent first
};

// Never destroyed: threads may hold an arena while the process ends.
Lending& lending() {
  static auto* const instance = new Lending;
  return *instance;
}

Arena* borrow() {
  Lending& from = lending();
  const std::lock_guard lock(from.mutex);
  if (from.idle.empty()) {
    from.all.push_back(std::make_unique<Arena>());
    try {
      from.idle.reserve(from.all.size());  // giving back needs no memory
    } catch (...) {
      from.all.pop_back();
      throw;
    }
    return from.all.back().get();
  }
  Arena* arena = from.idle.back();
  from.idle.pop_back();
  return arena;
}

}  // namespace

LentArena::LentArena() : before_(detail::lent_arena) {
  detail::lent_arena = borrow();
}

LentArena::~LentArena() {
  Lending& to = lending();
  const std::lock_guard lock(to.mutex);
  to.idle.push_back(detail::lent_arena);
  detail::lent_arena = before_;
}

}  // namespace whittle
